"""What reapers promise on every log: what has lasted too long ends, once, and nobody is flooded."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from adapters.asking import Asker, asking
from adapters.log import Log, Unavailable
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.lease_rounds import open_lease_rounds
from adapters.postgres.leases import leasing
from adapters.postgres.views.due import DueQueries, open_due
from adapters.postgres.views.leases import open_leases
from adapters.postgres.views.view import address_of
from domain.envelope import Recorded, Submitted
from domain.event import CommandNoted
from domain.ticket import commands as c
from domain.ticket.events import LeaseLost, TaskErrored, TaskTimedOut, TicketExpired
from domain.workflow import Timeouts
from tests.contract.places import Place
from tests.contract.test_projector import (
    CODEC,
    LEASE,
    ask,
    engine_on,
    genesis_of,
    log_of,
    rows_are_the_fold,
    view_of,
)
from tests.unit.given import opening, task
from workers.hearing import hear
from workers.projector import Projector
from workers.reaper import Reaper

pytestmark = pytest.mark.service

SOON = Timeouts(queue=0.2, start=0.2, run=0.2)


class Rounds:
    """What is due at an address, and how often it was asked for."""

    def __init__(self, queries: DueQueries) -> None:
        self._queries = queries
        self.asked = 0

    async def due(self) -> AsyncGenerator[Submitted, None]:
        async with aclosing(self._queries.due()) as found:
            async for command in found:
                yield command
        self.asked += 1


@asynccontextmanager
async def reaping(log: Log, address: Address) -> AsyncIterator[Rounds]:
    async with open_due(address) as queries, leasing(address, 1) as leases:
        rounds = Rounds(queries)

        @asynccontextmanager
        async def opening() -> AsyncIterator[Rounds]:
            yield rounds

        reaper = Reaper(log, opening, partial(open_lease_rounds, address), interval=0.02)
        task = asyncio.create_task(reaper.run())
        hearing = asyncio.create_task(hear(leases.hearing))
        try:
            yield rounds
        finally:
            hearing.cancel()
            reaper.stop()
            await task


@asynccontextmanager
async def projecting(log: Log, address: Address) -> AsyncIterator[None]:
    """The views in which a reaper looks."""
    at = address_of(address, "leases")
    leases = await open_leases(at, await genesis_of(log), lease=LEASE)
    projector = Projector("a", log, [await view_of(log, address), leases])
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        projector.stop()
        await task


@asynccontextmanager
async def site(place: Place, address: Address) -> AsyncIterator[tuple[Log, Asker]]:
    """A log with an engine, its views, and two reapers."""
    async with (
        place.open(2, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
        projecting(log, address),
        reaping(log, address),
        reaping(log, address),
    ):
        yield log, asker


async def happened(log: Log, kind: type[object], times: int = 1) -> list[Recorded]:
    """The events of a kind, as soon as there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = [one for one in await log_of(log) if isinstance(one.event, kind)]
            if len(found) >= times:
                return found
            await asyncio.sleep(0.05)


async def test_a_deadline_that_passes_ends_the_ticket(place: Place, address: Address) -> None:
    async with site(place, address) as (log, asker):
        deadline = datetime.now(UTC) + timedelta(seconds=1.5)
        await asyncio.gather(
            *(ask(asker, f"{n}", opening("A", deadline=deadline)) for n in range(5))
        )
        await ask(asker, "later", opening("A"))
        expired = await happened(log, TicketExpired, 5)
        await rows_are_the_fold(log, address)
        assert {"reaper"} == {one.actor for one in expired}
        assert {f"ticket/{n}" for n in range(5)} == {one.originator_id for one in expired}
        assert [] == [one for one in await log_of(log) if isinstance(one.event, CommandNoted)]


async def test_each_stage_of_a_task_that_lasts_too_long_ends(
    place: Place, address: Address
) -> None:
    async with site(place, address) as (log, asker):
        await ask(asker, "queue", opening(task("A", timeouts=SOON)))
        [errored] = await happened(log, TaskErrored)
        assert "ticket/queue" == errored.originator_id
        late = Timeouts(start=0.2, run=0.2)
        await ask(asker, "start", opening(task("A", timeouts=late)))
        await ask(asker, "start", c.Claim(task="A", worker="w1", request="r1"))
        [lost] = await happened(log, LeaseLost)
        assert "ticket/start" == lost.originator_id
        token = await ask(asker, "start", c.Claim(task="A", worker="w1", request="r2"))
        await ask(asker, "start", c.Start(task="A", token=token))
        [timed_out] = await happened(log, TaskTimedOut)
        assert ("ticket/start", "reaper") == (timed_out.originator_id, timed_out.actor)
        await rows_are_the_fold(log, address)


async def test_what_is_due_still_is_not_sent_again_and_again(
    on_postgres: Place, address: Address
) -> None:
    """Nobody decides it, or an engine finds that it is not due: that is no reason to spin."""
    async with on_postgres.open(1, codec=CODEC) as log, asking(log) as asker:
        async with engine_on(log), projecting(log, address):
            await ask(asker, "1", opening(task("A", timeouts=SOON)))
            await rows_are_the_fold(log, address)
        before = await log.inbox_end(0)
        async with reaping(log, address) as rounds, asyncio.timeout(20):
            while await log.inbox_end(0) == before:
                await asyncio.sleep(0.02)
            asked = rounds.asked
            while rounds.asked < asked + 20:
                await asyncio.sleep(0.02)
        assert before + 1 == await log.inbox_end(0)


class Away:
    """A log that is away the first three times."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.times = 0

    async def send(self, commands: Sequence[Submitted]) -> None:
        self.times += 1
        if self.times <= 3:
            raise Unavailable("it is away")
        await self._log.send(commands)

    async def end(self, partition: int) -> int:
        return await self._log.end(partition)


async def test_what_could_not_be_sent_is_sent_in_the_next_round(
    on_postgres: Place, address: Address
) -> None:
    async with on_postgres.open(1, codec=CODEC) as log, asking(log) as asker:
        away: Any = Away(log)
        async with engine_on(log), projecting(log, address), reaping(away, address):
            await ask(asker, "1", opening(task("A", timeouts=SOON)))
            await happened(log, TaskErrored)
        assert 4 == away.times


async def test_of_a_ticket_that_cannot_be_folded_nothing_is_due(
    on_postgres: Place, address: Address
) -> None:
    async with on_postgres.open(1, codec=CODEC) as log, asking(log) as asker:
        async with engine_on(log), projecting(log, address):
            deadline = datetime.now(UTC) + timedelta(seconds=1)
            await ask(asker, "1", opening(task("A", timeouts=SOON), deadline=deadline))
            await rows_are_the_fold(log, address)
        async with open_due(address) as queries, open_pool(address, 1) as pool:
            async with asyncio.timeout(20):
                while len([one async for one in queries.due()]) < 2:
                    await asyncio.sleep(0.02)
            tickets = address_of(address, "tickets").schema
            await pool.execute(f"UPDATE {tickets}.tickets SET problem = 'a test'")
            assert [] == [one async for one in queries.due()]


async def test_more_than_a_page_is_found_and_what_is_due_longest_first(
    on_postgres: Place, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.postgres.views.due.PAGE", 3)
    names = [f"t{n}" for n in range(8)]
    async with on_postgres.open(2, codec=CODEC) as log, asking(log) as asker:
        async with engine_on(log), projecting(log, address):
            for name in names:
                await ask(asker, name, opening(task("A", timeouts=Timeouts(queue=0.01))))
            await rows_are_the_fold(log, address)
        async with open_due(address) as queries:
            found = [one.stream async for one in queries.due()]
        assert [f"ticket/{name}" for name in names] == found
