"""`eventsourcing` applications on the tables of the log: what only PostgreSQL promises them.

What every log does is in `tests/contract/test_recorder.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import structlog.testing
from eventsourcing.application import Application
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    Notification,
    OperationalError,
    ProgrammingError,
)
from msgspec.structs import replace

from adapters.codec import RECORD_LIMIT
from adapters.library import VersionTaken
from adapters.log import Decided, Encoded, Fenced
from adapters.postgres.connection import Address, connect
from adapters.postgres.log import open_log
from tests.contract.places import taken
from tests.contract.recording import (
    CODEC,
    LIFE,
    application,
    example,
    recorder,
    settings,
    stream_in,
)
from tests.unit.given import Given

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What engines say is not the subject here."""
    with structlog.testing.capture_logs():
        yield


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await connect(address)
    try:
        yield connection
    finally:
        await connection.close()


STUCK = "pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"


async def until_stuck(address: Address, count: int, *others: "asyncio.Task[Any]") -> None:
    """Until so many sessions wait for a lock, or one of the others is done."""
    async with connected(address) as connection:
        while not any(other.done() for other in others):
            stuck = await connection.fetchval(f"SELECT count(*) FROM {STUCK}")
            if stuck >= count:
                break
            await asyncio.sleep(0.005)


@asynccontextmanager
async def paused_before_commit(address: Address) -> AsyncIterator[None]:
    """Transactions that append an event with the topic `paused` stop right before their commit."""
    async with connected(address) as connection:
        await connection.execute(
            "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN PERFORM pg_advisory_xact_lock(hashtext(TG_TABLE_SCHEMA)); RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER pause AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW WHEN (NEW.topic = 'paused') EXECUTE FUNCTION pause()"
        )
        await connection.execute("SELECT pg_advisory_lock(hashtext($1))", address.schema)
        yield


# ------------------------------------------------------------------------------------------ reading


async def test_what_was_read_early_is_a_prefix_of_what_is_read_later(address: Address) -> None:
    with recorder(address) as first, recorder(address) as second, recorder(address) as reader:
        async with paused_before_commit(address):
            one = example("example/1", topic="paused")
            two = example("example/2")
            paused = asyncio.create_task(asyncio.to_thread(first.insert_events, [one]))
            await until_stuck(address, 1, paused)
            behind = asyncio.create_task(asyncio.to_thread(second.insert_events, [two]))
            await until_stuck(address, 2, behind)
            early = reader.select_notifications(None, 10)
        assert {(1,), (2,)} == {tuple(await paused or ()), tuple(await behind or ())}
        late = reader.select_notifications(None, 10)
    assert early == late[: len(early)]
    assert [1, 2] == [notification.id for notification in late]
    assert [one.originator_id, two.originator_id] == [event.originator_id for event in late]


async def test_a_subscription_sees_what_nobody_notified_it_of(address: Address) -> None:
    with recorder(address) as reader, reader.subscribe() as subscription:
        reader.insert_events([example("example/1")])
        assert 1 == (await asyncio.to_thread(next, subscription)).id
        async with connected(address) as connection:
            await connection.execute(
                "INSERT INTO events (partition, sequence, originator_id, originator_version, topic,"
                " state) VALUES (0, 2, 'example/1', 2, 'topic', '')"
            )
        async with asyncio.timeout(10):
            silent = await asyncio.to_thread(next, subscription)
        assert Notification("example/1", 2, "topic", b"", id=2) == silent


# ------------------------------------------------------------------------------------------ writing


async def test_a_writer_fences_an_engine_whose_lease_has_lapsed(address: Address) -> None:
    history = Given(*LIFE[:1]).history
    late = replace(history[0], originator_id="ticket/late", sequence=1)
    async with (
        open_log(address, CODEC, partitions=1, lease=1) as log,
        log.join("paused") as membership,
        log.join("successor") as others,
    ):
        owner = await taken(membership, 0)
        async with connected(address) as connection:  # time passes, and no renewal comes
            await connection.execute("UPDATE partitions SET owned_till = clock_timestamp()")
        with application(address) as app:
            app.save(*history)
        with pytest.raises(Fenced):
            await owner.resume(0)
        for decided in (
            Decided(upto=1),
            Decided(upto=1, events=[Encoded(late, CODEC.encode_event(late.event))]),
        ):
            with pytest.raises(Fenced):
                await owner.commit(decided)
        await membership.granted()  # renews what is its own: nothing
        successor = await others.take(0)
        assert [event.id for event in history] == [
            event.id async for page in successor.history() for event in page
        ]
        await owner.release()
        await successor.release()


def test_events_of_several_partitions_are_written_together_or_not_at_all(
    address: Address,
) -> None:
    streams = [stream_in(partition, 3) for partition in range(3)]
    with recorder(address, 3) as recording:
        recording.insert_events([example(streams[1])])
        with pytest.raises(VersionTaken):
            recording.insert_events([example(stream) for stream in streams])
        assert [[], [example(streams[1])], []] == [
            recording.select_events(stream) for stream in streams
        ]
        assert [1, 2, 1] == recording.insert_events([example(stream, 2) for stream in streams])


async def test_whoever_writes_to_several_partitions_locks_them_in_one_order(
    address: Address,
) -> None:
    """So that no two wait for each other."""
    there = [stream_in(partition, 3) for partition in range(3)]
    with recorder(address, 3) as one, recorder(address, 3) as other:
        async with connected(address) as connection, connection.transaction():
            await connection.execute("SELECT FROM partitions WHERE partition = 0 FOR UPDATE")
            events = [example(stream) for stream in reversed(there)]
            waiting = asyncio.create_task(asyncio.to_thread(one.insert_events, events))
            await until_stuck(address, 1, waiting)
            for stream in there[1:]:  # which the one that waits has not locked
                await asyncio.to_thread(other.insert_events, [example(stream, 2)])
        assert [2, 2, 1] == await waiting


def test_a_record_over_the_limit_fails_alone(address: Address) -> None:
    largest = example("example/1", 2, state=b"x" * RECORD_LIMIT)
    with recorder(address) as recording:
        with pytest.raises(DataError, match="example/1 version 3: 524289 bytes are more than"):
            recording.insert_events(
                [example("example/1"), example("example/1", 3, state=b"x" * (RECORD_LIMIT + 1))]
            )
        assert [] == recording.select_events("example/1")
        assert [1, 2] == recording.insert_events([example("example/1"), largest])
        assert [largest] == recording.select_events("example/1", gt=1)


# ------------------------------------------------------------------------------------------ failing


async def test_a_connection_lost_before_the_commit_is_an_operational_error(
    address: Address,
) -> None:
    with recorder(address) as recording:
        async with paused_before_commit(address), connected(address) as connection:
            lost = asyncio.create_task(
                asyncio.to_thread(recording.insert_events, [example("example/1", topic="paused")])
            )
            await until_stuck(address, 1, lost)
            await connection.execute(f"SELECT pg_terminate_backend(pid) FROM {STUCK}")
            with pytest.raises(OperationalError):
                await lost
        assert [] == recording.select_events("example/1")
        assert [1] == recording.insert_events([example("example/1")])


def test_a_server_that_is_away_is_an_operational_error() -> None:
    nowhere = Address("postgresql://turnstile@127.0.0.1:1/turnstile")
    with pytest.raises(OperationalError), recorder(nowhere):
        pass


def test_a_log_that_is_not_there_is_not_made_when_told_so(address: Address) -> None:
    with pytest.raises(ProgrammingError, match="partitions"), recorder(address, CREATE_TABLE="f"):
        pass
    with recorder(address):
        pass
    with recorder(address, CREATE_TABLE="f") as recording:
        assert [1] == recording.insert_events([example("example/1")])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"TURNSTILE_SCHEMA": "no-name"}, "schema"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    address: Address, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(InfrastructureFactoryError, match=message):
        Application[str](settings(address, more=wrong))
