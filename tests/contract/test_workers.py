"""The view of workers on every log: what engines decided, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from uuid import uuid4

import pytest
import structlog.testing
from msgspec.structs import replace

from adapters.asking import Asker, asking
from adapters.log import Fenced, Log
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.views.history import open_history
from adapters.postgres.views.rebuilding import before, drop
from adapters.postgres.views.view import PostgresView, address_of
from adapters.postgres.views.workers import Workers, open_workers
from domain.envelope import Submitted, partition_of
from domain.event import Command
from domain.worker import commands as c
from domain.worker.automata import WorkerState
from projections.queries import Page
from projections.workers import Worker, WorkerFilter, concerns
from tests.contract.places import Place
from tests.contract.test_projector import CODEC, LEASE, engine_on, genesis_of, live, log_of, seen
from tests.unit.test_worker_rows import folded
from tests.unit.test_workers import ANYTHING, register
from workers.projector import Projector
from workers.rebuild import Rebuild

pytestmark = pytest.mark.service


async def view_of(log: Log, address: Address) -> PostgresView:
    return await open_workers(address_of(address, "workers"), await genesis_of(log), lease=LEASE)


@asynccontextmanager
async def projecting(log: Log, address: Address, name: str = "a") -> AsyncIterator[None]:
    projector = Projector(name, log, [await view_of(log, address)])
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        projector.stop()
        await task


async def tell(asker: Asker, worker: str, *commands: Command) -> None:
    """Ask for all of that; some of it may be refused."""
    for command in commands:
        await asker.ask(
            Submitted(id=uuid4(), stream=f"worker/{worker}", actor="a test", command=command)
        )


async def rows(address: Address) -> list[Worker]:
    async with open_pool(address_of(address, "workers"), 1) as pool:
        return list((await Workers(pool).page(WorkerFilter(limit=1000))).rows)


async def rows_are_the_fold(log: Log, address: Address) -> None:
    await seen(log, address_of(address, "workers"))
    own = [event for event in await log_of(log) if concerns(event)]
    expected = [
        replace(row, partition=partition_of(f"worker/{name}", log.partitions))
        for name, row in sorted(folded(own).items())
    ]
    assert expected
    assert expected == await rows(address)


async def walk(asker: Asker, worker: str, seed: int) -> None:
    await tell(asker, worker, register(), *Random(seed).choices(ANYTHING, k=12))


async def test_the_view_follows_what_engines_decide_among_tickets(
    place: Place, address: Address
) -> None:
    async with (
        place.open(2, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
        projecting(log, address),
    ):
        await asyncio.gather(
            *(walk(asker, f"w{n}", n) for n in range(20)), *(live(asker, str(n)) for n in range(5))
        )
        await rows_are_the_fold(log, address)


async def test_one_that_comes_later_goes_on_where_the_other_ended(
    place: Place, address: Address
) -> None:
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        for name in ("a", "b", "c"):
            await asyncio.gather(*(walk(asker, f"w{n}", n) for n in range(8)))
            await live(asker, name)
            async with projecting(log, address, name):
                await rows_are_the_fold(log, address)


@pytest.mark.parametrize("of", ["tickets", "workers"])
async def test_one_that_was_paused_past_its_lease_writes_nothing(
    place: Place, address: Address, of: str
) -> None:
    """Whether what it would fold tells of workers or not."""
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        view = await view_of(log, address)
        await tell(asker, "w1", register())
        async with view.join("paused") as paused:
            while 0 not in await paused.granted():
                pass
            fold = await paused.take(0)
            with structlog.testing.capture_logs():
                async with projecting(log, address, "other"):
                    if of == "workers":
                        await tell(asker, "w1", c.Drain())
                    else:
                        await live(asker, "1")
                    await rows_are_the_fold(log, address)
                behind = [
                    event for event in await log_of(log) if of == "workers" or not concerns(event)
                ]
                with pytest.raises(Fenced, match="has another owner"):
                    await fold.fold(behind)
            await fold.release()
        await rows_are_the_fold(log, address)


async def test_pages_that_tell_of_no_worker_are_written_down_together(
    place: Place, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is lost of what comes between them, or when the partition is given back."""
    monkeypatch.setattr("adapters.postgres.views.view.REST", 3_600.0)
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await live(asker, "1")
        await tell(asker, "w1", register())
        await live(asker, "2")
        events = await log_of(log)
        first = next(n for n, event in enumerate(events) if concerns(event))
        view = await view_of(log, address)
        async with view.join("a") as folding:
            while 0 not in await folding.granted():
                pass
            fold = await folding.take(0)
            for n, event in enumerate(events):
                await fold.fold([event])
                assert n + 1 == fold.sequence
                [folded] = await view.standings()
                assert fold.owes == (folded.sequence < fold.sequence) == (n not in (0, first))
            await fold.rest()
            assert [len(events)] == [one.sequence for one in await view.standings()]
            await fold.release()
            again = await folding.take(0)
            assert (len(events), events[-1].id) == (again.sequence, again.event)
            await again.release()
        await rows_are_the_fold(log, address)


async def test_it_is_folded_again_beside_the_one_in_use(place: Place, address: Address) -> None:
    at = address_of(address, "workers")
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await asyncio.gather(*(walk(asker, f"w{n}", n) for n in range(8)))

        async def again(beside: Address) -> PostgresView:
            return await open_workers(beside, await genesis_of(log), lease=LEASE)

        async with projecting(log, address):
            await rows_are_the_fold(log, address)
        done = await Rebuild(log, at, again).run()
        assert sum([await log.end(n) for n in range(log.partitions)]) == done
        await rows_are_the_fold(log, address)
        assert await drop(before(at))


async def test_the_stream_of_a_worker_is_in_the_archive(place: Place, address: Address) -> None:
    at = address_of(address, "history")
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await tell(asker, "w1", register(), c.Drain(), c.Leave("s1"))
        projector = Projector("a", log, [await open_history(at, await genesis_of(log), CODEC)])
        task = asyncio.create_task(projector.run())
        await seen(log, at)
        projector.stop()
        await task
        async with open_pool(at, 1) as pool:
            assert await log_of(log) == await Archive(pool, CODEC).events("worker/w1")


async def test_workers_are_found_by_name_and_by_state(place: Place, address: Address) -> None:
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await tell(asker, "a", register())
        await tell(asker, "b", register(), c.Drain())
        await tell(asker, "c", register(), c.Leave("s1"))
        await tell(asker, "d", register())
        async with projecting(log, address):
            await seen(log, address_of(address, "workers"))
        async with open_pool(address_of(address, "workers"), 1) as pool:
            workers = Workers(pool)
            assert ["a", "d"] == [row.worker for row in await workers.online()]
            gone = await workers.get("c")
            assert gone is not None
            assert WorkerState.GONE is gone.state
            assert None is await workers.get("e")
            first = await workers.page(WorkerFilter(limit=3))
            second = await workers.page(WorkerFilter(limit=3, cursor=first.next))
            assert ["a", "b", "c"] == [row.worker for row in first.rows]
            assert (["d"], None) == ([row.worker for row in second.rows], second.next)
            some = WorkerFilter(state=(WorkerState.DRAINING, WorkerState.GONE))
            assert ["b", "c"] == [row.worker for row in (await workers.page(some)).rows]
            assert Page([], None) == await workers.page(WorkerFilter(state=(WorkerState.ABSENT,)))
