"""A ticket of 10,000 tasks, from its opening to what is shown of it, on every log."""

from time import monotonic
from typing import Any

import pytest

from adapters.asking import asking
from adapters.http.tickets import Events, ThenTasks, TicketReading
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, close, connect, open_pool
from adapters.postgres.views.queries import TicketQueries
from adapters.postgres.views.view import address_of
from domain.ticket import commands as c
from tests.benchmarks.tickets import growing
from tests.contract.places import Place
from tests.contract.test_projector import CODEC, ask, engine_on, projecting, projecting_both, seen
from tests.contract.test_projector import live as live_a_small_one

pytestmark = pytest.mark.service

TASKS = 10_000
LONG = 3.0
"""Seconds that nothing may take, on a machine that is busy with other tests."""

WRITTEN = "SELECT count(*) FROM tasks WHERE xmin::text::bigint > $1"
LAST = "SELECT max(xmin::text::bigint) FROM tasks"


async def test_it_can_be_opened_watched_and_shown(place: Place, address: Address) -> None:
    at, archive = address_of(address, "tickets"), address_of(address, "history")
    async with (
        place.open(1, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
        projecting_both(log, address),
    ):
        for command in growing(1, TASKS):
            await ask(asker, "1", command)
        await seen(log, at)
        await seen(log, archive)
        async with open_pool(at, 1) as views, open_pool(archive, 1) as events:
            reading = TicketReading(TicketQueries(views), Archive(events, CODEC))
            names = await _all(lambda cursor: reading.tasks("1", ThenTasks(cursor=cursor)))
            assert [f"task-{n}" for n in range(TASKS)] == [row.task for row in names]
            told = await _all(
                lambda cursor: reading.events("1", Events(cursor=int(cursor or 0), limit=2))
            )
            assert list(range(1, len(told) + 1)) == [row.version for row in told]


async def test_one_task_s_change_is_one_row_s(place: Place, address: Address) -> None:
    """For a projector that has opened the ticket, and for one that has never heard of it."""
    at = address_of(address, "tickets")
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        async with projecting(log, address):
            for command in growing(1, TASKS):
                await ask(asker, "1", command)
            await seen(log, at)
            await _is_one_row(log, at, asker, "task-7")
        async with projecting(log, address, "another"):
            await live_a_small_one(asker, "2")
            await seen(log, at)
            await _is_one_row(log, at, asker, "task-9999")


async def _is_one_row(log: Any, at: Address, asker: Any, task: str) -> None:
    connection = await connect(at)
    last = await connection.fetchval(LAST)
    began = monotonic()
    await ask(asker, "1", c.Claim(task=task, worker="w1", request=task))
    await seen(log, at)
    assert LONG > monotonic() - began
    assert 1 == await connection.fetchval(WRITTEN, last)
    await close(connection)


async def _all(ask_for: Any) -> list[Any]:
    """All pages, none of which takes long."""
    found: list[Any] = []
    cursor = None
    while True:
        began = monotonic()
        page = await ask_for(cursor)
        assert LONG > monotonic() - began
        found += page.rows
        if page.next is None:
            return found
        cursor = page.next
