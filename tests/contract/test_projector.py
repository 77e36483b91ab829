"""What a projector promises on every log: its views are the fold of the log, whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing
from msgspec.structs import replace

from adapters import cloudevents
from adapters.asking import Asker, asking
from adapters.codec import Codec
from adapters.log import Fenced, Gap, Genesis, Log, WrongLog
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, close, connect, open_pool
from adapters.postgres.views.history import open_history
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import PostgresView, address_of
from domain.envelope import Recorded, Stored, Submitted, partition_of
from domain.kinds import DECIDERS
from domain.ticket import commands as c
from domain.ticket.words import Outcome
from tests.contract.places import Place
from tests.contract.recording import all_of
from tests.contract.ticket_rows import KINDS, expected, tables
from tests.unit.given import opening
from workers.engine import Engine
from workers.projector import Projector

pytestmark = pytest.mark.service

CODEC = Codec(DECIDERS)
LEASE = 0.6


@asynccontextmanager
async def engine_on(log: Log) -> AsyncIterator[None]:
    engine = Engine("engine", log, DECIDERS, CODEC)
    task = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        engine.stop()
        await task


async def genesis_of(log: Log) -> Sequence[Genesis]:
    return [await log.genesis(n) for n in range(log.partitions)]


async def view_of(log: Log, address: Address) -> PostgresView:
    at = address_of(address, "tickets")
    return await open_tickets(at, await genesis_of(log), lease=LEASE)


@asynccontextmanager
async def projecting(log: Log, address: Address, name: str = "a") -> AsyncIterator[Projector]:
    projector = Projector(name, log, [await view_of(log, address)])
    task = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        projector.stop()
        await task


async def seen(log: Log, at: Address) -> None:
    """Wait until the view there has all that the log has."""
    ends = [await log.end(n) for n in range(log.partitions)]
    connection = await connect(at)
    try:
        async with asyncio.timeout(20):
            while ends > [
                row["sequence"]
                for row in await connection.fetch("SELECT * FROM partitions ORDER BY partition")
            ]:
                await asyncio.sleep(0.02)
    finally:
        await close(connection)


async def ask(asker: Asker, ticket: str, command: Any) -> int:
    answer = await asker.ask(
        Submitted(id=uuid4(), stream=f"ticket/{ticket}", actor="a test", command=command)
    )
    assert answer.refusal is None, answer.refusal
    return answer.version


async def live(asker: Asker, ticket: str) -> None:
    """Open a ticket and work on it."""
    await ask(asker, ticket, opening("A", "B"))
    token = await ask(asker, ticket, c.Claim(task="A", worker="w1", request=ticket))
    await ask(asker, ticket, c.Start(task="A", token=token))
    await ask(asker, ticket, c.Report(task="A", token=token, outcome=Outcome.PASSED))


async def log_of(log: Log) -> Sequence[Recorded]:
    return [event for n in range(log.partitions) for event in await all_of(log, n)]


async def rows_are_the_fold(log: Log, address: Address) -> None:
    await seen(log, address_of(address, "tickets"))
    rows = expected(await log_of(log))
    for row in rows["tickets"]:
        row["partition"] = partition_of(f"ticket/{row['ticket']}", log.partitions)
    assert rows == await tables(address)


# ----------------------------------------------------------------------------------- following


async def test_the_views_follow_what_engines_decide(place: Place, address: Address) -> None:
    async with (
        place.open(2, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
        projecting(log, address),
    ):
        await asyncio.gather(*(live(asker, str(n)) for n in range(20)))
        await rows_are_the_fold(log, address)


async def test_one_that_comes_later_catches_up(place: Place, address: Address) -> None:
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await asyncio.gather(*(live(asker, str(n)) for n in range(10)))
        async with projecting(log, address):
            await rows_are_the_fold(log, address)
        await asyncio.gather(*(live(asker, str(n)) for n in range(10, 20)))
        async with projecting(log, address, "b"):
            await rows_are_the_fold(log, address)


async def test_projectors_that_come_and_go_lose_and_repeat_nothing(
    place: Place, address: Address
) -> None:
    chance = Random(1)
    async with place.open(4, codec=CODEC) as log, engine_on(log), asking(log) as asker:

        async def live_all() -> None:
            for n in range(60):
                await live(asker, str(n))

        working = asyncio.create_task(live_all())
        with structlog.testing.capture_logs():
            async with projecting(log, address, "a"):
                while not working.done():
                    async with projecting(log, address, f"b{chance.random()}"):
                        await asyncio.sleep(chance.uniform(0.05, 0.3))
                await working
                await rows_are_the_fold(log, address)


async def test_one_that_was_paused_past_its_lease_writes_nothing_twice(
    place: Place, address: Address
) -> None:
    """Its partitions have gone to another one, which has folded on."""
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        view = await view_of(log, address)
        async with view.join("paused") as paused:
            while 0 not in await paused.granted():
                pass
            fold = await paused.take(0)
            with structlog.testing.capture_logs():
                async with projecting(log, address, "other"):
                    await live(asker, "1")
                    await rows_are_the_fold(log, address)
            with pytest.raises(Exception, match="has another owner"):
                await fold.fold(await log_of(log))
            await fold.release()
        await rows_are_the_fold(log, address)


async def test_one_that_was_paused_hears_that_it_was_late_and_of_no_gap(
    place: Place, address: Address
) -> None:
    """It finds rows that are ahead of it, since another one folds its partition."""
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        view = await view_of(log, address)
        await ask(asker, "1", opening("A", "B"))
        async with projecting(log, address):
            await seen(log, address_of(address, "tickets"))
        async with view.join("paused") as paused:
            while 0 not in await paused.granted():
                pass
            fold = await paused.take(0)
            with structlog.testing.capture_logs() as lines:
                async with projecting(log, address, "other"):
                    await ask(asker, "1", c.Claim(task="A", worker="w1", request="r"))
                    await ask(asker, "1", c.Cancel())
                    await rows_are_the_fold(log, address)
                behind = (await log_of(log))[fold.sequence :]
                with pytest.raises(Fenced, match="has another owner"):
                    await fold.fold(behind)
            await fold.release()
        assert [] == [line for line in lines if line["log_level"] == "critical"]


# ----------------------------------------------------------------------------------- the archive


async def test_the_archive_has_every_event_of_a_ticket_in_order(
    place: Place, address: Address
) -> None:
    at = address_of(address, "history")
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        view = await open_history(at, await genesis_of(log), CODEC, lease=LEASE)
        projector = Projector("a", log, [view])
        projecting = asyncio.create_task(projector.run())
        await asyncio.gather(*(live(asker, str(n)) for n in range(20)))
        await seen(log, at)
        projector.stop()
        await projecting
        async with open_pool(at, 1) as pool:
            archive = Archive(pool, CODEC)
            events = await log_of(log)
            for n in range(20):
                stream = f"ticket/{n}"
                expected = [event for event in events if event.originator_id == stream]
                assert expected == await archive.events(stream)
                assert expected[2:4] == await archive.events(stream, 2, limit=2)
                assert expected[:4] == await archive.events(stream, until=4)
                earlier = [event for event in expected if event.time <= expected[3].time]
                assert earlier == await archive.events(stream, at=expected[3].time)


@asynccontextmanager
async def projecting_both(log: Log, address: Address) -> AsyncIterator[None]:
    history = await open_history(
        address_of(address, "history"), await genesis_of(log), CODEC, lease=LEASE
    )
    projector = Projector("a", log, [await view_of(log, address), history])
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        projector.stop()
        await task


async def test_a_view_that_is_held_up_holds_no_other_up(place: Place, address: Address) -> None:
    at = address_of(address, "history")
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        with structlog.testing.capture_logs():
            async with projecting_both(log, address):
                await live(asker, "1")
                await seen(log, at)
                other = await connect(at)
                async with other.transaction():
                    await other.execute("LOCK TABLE events IN EXCLUSIVE MODE")
                    await live(asker, "2")
                    await rows_are_the_fold(log, address)
                await close(other)
                await live(asker, "3")
                await seen(log, at)
        async with open_pool(at, 1) as pool:
            found = [await Archive(pool, CODEC).events(f"ticket/{n}") for n in (1, 2, 3)]
        events = await log_of(log)
        assert sorted(events, key=lambda one: one.originator_id) == [e for f in found for e in f]
        assert 0 < len(events)


async def test_events_are_read_with_their_data_as_the_log_has_it(
    place: Place, address: Address
) -> None:
    async with place.open(1, codec=CODEC) as log, asking(log) as asker:
        async with engine_on(log):
            await live(asker, "1")
        expected = await log_of(log)
        found: list[Any] = []
        async with aclosing(log.follow(0, stored=True)) as pages:
            while len(found) < len(expected):
                found += await anext(pages)
        for event, stored in zip(expected, found, strict=True):
            assert isinstance(stored, Stored)
            assert (event.id, event.sequence) == (stored.id, stored.sequence)
            form, data = type(event.event).class_version, CODEC.encode_event(event.event)
            assert (form, data) == (stored.form, stored.data)


async def test_what_is_of_an_older_form_is_archived_in_that_form(
    address: Address, place: Place
) -> None:
    """The archive has what the log has, so that it is read in the same way."""
    old = Path(__file__).parents[1] / "data/events/turnstile.ticket.lease_lost.v1.json"
    at = address_of(address, "history")
    async with place.open(1, codec=CODEC) as log:
        view = await open_history(at, await genesis_of(log), CODEC, lease=LEASE)
        envelope = cloudevents.parse(old.read_bytes())
        event = replace(cloudevents.stored(envelope, CODEC), sequence=1)
        async with view.join("a") as folding:
            while 0 not in await folding.granted():
                pass
            fold = await folding.take(0)
            await fold.fold([event])
            await fold.release()
        async with open_pool(at, 1) as pool:
            row = await pool.fetchrow("SELECT schemaversion, state FROM events")
            assert row is not None
            assert (1, cloudevents.data_of(envelope)) == (row["schemaversion"], row["state"])
            [found] = await Archive(pool, CODEC).events("ticket/9")
            assert event.event == found.event


# ------------------------------------------------------------------------------- other histories


async def _changed(address: Address, statement: str) -> None:
    connection = await connect(address_of(address, "tickets"))
    await connection.execute(statement)
    await close(connection)


@pytest.mark.parametrize(
    "change",
    ["event = gen_random_uuid()", "sequence = sequence + 1"],
    ids=["of another event", "ahead of the log"],
)
async def test_a_view_on_another_history_than_the_log_is_refused(
    place: Place, address: Address, change: str
) -> None:
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        async with projecting(log, address):
            await live(asker, "1")
            await seen(log, address_of(address, "tickets"))
        await _changed(address, f"UPDATE partitions SET {change}")
        projector = Projector("b", log, [await view_of(log, address)])
        with pytest.raises(WrongLog, match="turnstile rebuild tickets"):
            async with asyncio.timeout(20):
                await projector.run()


async def test_a_lost_event_stops_the_projector(place: Place, address: Address) -> None:
    async with place.open(1, codec=CODEC) as log, asking(log) as asker:
        async with engine_on(log):
            await live(asker, "1")
        await place.lose_event(0, 3)
        projector = Projector("b", log, [await view_of(log, address)])
        with pytest.raises(Gap):
            async with asyncio.timeout(20):
                await projector.run()
    assert set(KINDS) == set(await tables(address))
