"""The views of tickets in PostgreSQL: the same rows as the fold has, whatever happens to it."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from adapters.log import Fenced, Genesis, Unavailable, WrongLog
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.rows import columns
from adapters.postgres.views.tickets import TicketsFold, open_tickets
from adapters.postgres.views.view import PostgresFolding, PostgresView, address_of
from adapters.views import Fold
from domain.envelope import Recorded
from domain.stream import VersionGap
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import TaskStarted
from tests.contract.ticket_rows import KINDS, expected, tables
from tests.unit.given import Given, given, opening, ran
from tests.unit.walks import play, take, walk_at_random

pytestmark = pytest.mark.service


def log_of(partitions: int = 1) -> Sequence[Genesis]:
    return [Genesis(1, partitions, UUID(int=n + 1)) for n in range(partitions)]


def history(*tickets: Given) -> list[Recorded]:
    """What has happened to some tickets, in one partition."""
    events = sorted((event for each in tickets for event in each.history), key=lambda e: e.time)
    return [msgspec.structs.replace(event, sequence=n) for n, event in enumerate(events, start=1)]


def walked(seed: int) -> Given:
    chance = Random(seed)
    ticket = Given()
    for ticket, submitted in play(walk_at_random(chance.randint, 40)):
        take(ticket, submitted)
    ticket.stream.id = f"ticket/{seed}"
    ticket.history = [
        msgspec.structs.replace(event, originator_id=f"ticket/{seed}") for event in ticket.history
    ]
    return ticket


@asynccontextmanager
async def folding(view: PostgresView, name: str = "a") -> AsyncIterator[PostgresFolding]:
    async with view.join(name) as folding:
        yield folding


@asynccontextmanager
async def fold_of(folding: PostgresFolding, partition: int = 0) -> AsyncIterator[Fold]:
    async with asyncio.timeout(10):
        while partition not in await folding.granted():
            pass
    fold = await folding.take(partition)
    try:
        yield fold
    finally:
        await fold.release()


# ------------------------------------------------------------------------------------- folding


@pytest.mark.parametrize("forgetful", [False, True], ids=["in one go", "by one after another"])
async def test_the_rows_are_those_of_the_fold(address: Address, forgetful: bool) -> None:
    events = history(*map(walked, range(40)))
    chance = Random(7)
    edges = sorted({0, len(events), *(chance.randrange(len(events)) for _ in range(12))})
    batches = [events[start:end] for start, end in pairwise(edges)]
    view = await open_tickets(address_of(address, "tickets"), log_of(), lease=1)
    if forgetful:
        for batch in batches:
            async with folding(view) as one, fold_of(one) as fold:
                await fold.fold(batch)
    else:
        async with folding(view) as one, fold_of(one) as fold:
            for batch in batches:
                await fold.fold(batch)
            assert (len(events), events[-1].id) == (fold.sequence, fold.event)
    assert expected(events) == await tables(address)


async def test_a_fold_that_was_taken_over_can_write_nothing(address: Address) -> None:
    events = history(given(opening("A"), *ran("A")))
    view = await open_tickets(address_of(address, "tickets"), log_of(), lease=1)
    async with folding(view, "a") as a, folding(view, "b") as b, fold_of(a) as zombie:
        await zombie.fold(events[:2])
        await a.leave()
        async with fold_of(b) as successor:
            assert (2, events[1].id) == (successor.sequence, successor.event)
            with pytest.raises(Fenced):
                await zombie.fold(events[2:])
            await successor.fold(events[2:])
    assert expected(events) == await tables(address)


async def test_a_fold_that_was_killed_inside_its_transaction_has_written_nothing(
    address: Address,
) -> None:
    events = history(given(opening("A"), *ran("A")))
    view = await open_tickets(address_of(address, "tickets"), log_of(), lease=1)
    async with folding(view) as one:
        async with fold_of(one) as fold:
            await fold.fold(events[:2])
            other = await connect(address)
            async with other.transaction():
                await other.execute(f'LOCK TABLE "{address_of(address, "tickets").schema}".tasks')
                writing = asyncio.create_task(fold.fold(events[2:]))
                await _until_it_waits(other)
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
                )
                with pytest.raises(Unavailable):
                    await writing
            await close(other)
        assert expected(events[:2]) == await tables(address)
        async with fold_of(one) as fold:
            assert 2 == fold.sequence
            await fold.fold(events[2:])
    assert expected(events) == await tables(address)


async def _until_it_waits(connection: Any) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)


async def test_a_long_transaction_holds_up_no_other_partition(address: Address) -> None:
    """Nor does the renewal of what is owned wait for it."""
    events = history(given(opening("A"), *ran("A")))
    others = history(Given(opening("A"), *ran("A"), stream="ticket/10"))
    view = await open_tickets(address_of(address, "tickets"), log_of(2), lease=1)
    async with folding(view) as one, fold_of(one, 0) as fold, fold_of(one, 1) as other:
        await fold.fold(events[:2])
        assert isinstance(fold, TicketsFold)
        await fold._place.connection.execute("SET lock_timeout = 0")
        blocking = await connect(address_of(address, "tickets"))
        async with blocking.transaction():
            await blocking.execute("SELECT FROM tickets FOR UPDATE")
            writing = asyncio.create_task(fold.fold(events[2:]))
            await _until_it_waits(blocking)
            async with asyncio.timeout(5):
                look = asyncio.create_task(one.granted())
                await other.fold(others)
                assert {0, 1} == await look
            assert not writing.done()
        await blocking.close()
        await writing
    assert ["10", "9"] == [row["ticket"] for row in (await tables(address))["tickets"]]


async def test_views_of_another_log_are_refused(address: Address) -> None:
    await open_tickets(address_of(address, "tickets"), log_of(2))
    with pytest.raises(WrongLog, match="are of another log"):
        await open_tickets(
            address_of(address, "tickets"), [Genesis(1, 2, uuid4()), Genesis(1, 2, uuid4())]
        )
    with pytest.raises(WrongLog, match="are of another log"):
        await open_tickets(address_of(address, "tickets"), log_of(3))


async def test_a_ticket_that_cannot_be_folded_stops_no_other(address: Address) -> None:
    bad, good = Given(opening("A"), *ran("A"), stream="ticket/1"), given(opening("A"), *ran("A"))
    started = next(n for n, one in enumerate(bad.history) if isinstance(one.event, TaskStarted))
    bad.history[started] = msgspec.structs.replace(
        bad.history[started], event=TaskStarted(task="none", token=3)
    )
    events = history(bad, good)
    view = await open_tickets(address_of(address, "tickets"), log_of(), lease=1)
    for batch in (events[:5], events[5:]):
        async with folding(view) as one, fold_of(one) as fold:
            await fold.fold(batch)
    rows = (await tables(address))["tickets"]
    assert {"1": "queued", "9": "passed"} == {row["ticket"]: row["state"] for row in rows}
    assert {"1": True, "9": False} == {row["ticket"]: bool(row["problem"]) for row in rows}


async def test_a_lost_event_is_noticed(address: Address) -> None:
    events = history(given(opening("A"), *ran("A")))
    view = await open_tickets(address_of(address, "tickets"), log_of(), lease=1)
    async with folding(view) as one, fold_of(one) as fold:
        with pytest.raises(VersionGap):
            await fold.fold(events[:2] + events[3:])


# ------------------------------------------------------------------------------------ the tables


@pytest.mark.parametrize(("table", "states"), [("tickets", TicketState), ("tasks", TaskState)])
async def test_the_tables_know_the_states_of_the_automaton(
    address: Address, table: str, states: type[TicketState] | type[TaskState]
) -> None:
    await open_tickets(address_of(address, "tickets"), log_of())
    connection = await connect(address_of(address, "tickets"))
    definition = await connection.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1"
        " AND connamespace = $2::regnamespace",
        f"{table}_state_check",
        address_of(address, "tickets").schema,
    )
    await close(connection)
    assert set(re.findall(r"'(\w+)'", definition)) == {*states} - {"absent"}


@pytest.mark.parametrize(("table", "kind"), KINDS.items())
async def test_the_tables_have_the_columns_of_the_rows(
    address: Address, table: str, kind: type[Any]
) -> None:
    await open_tickets(address_of(address, "tickets"), log_of())
    connection = await connect(address_of(address, "tickets"))
    found = await connection.prepare(f"SELECT * FROM {table}")
    columns_found = [attribute.name for attribute in found.get_attributes()]
    await close(connection)
    assert columns(kind) == columns_found
