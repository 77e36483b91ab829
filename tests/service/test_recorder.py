"""`eventsourcing` applications on the log of the engines: what they read, when they may write."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog.testing
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.cipher import AESCipher
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    InterfaceError,
    MapperDeserialisationError,
    Notification,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
)
from msgspec.structs import replace

from adapters.asking import asking
from adapters.codec import RECORD_LIMIT, Codec
from adapters.library import AlreadyTracked, PartitionOwned, VersionTaken
from adapters.log import Decided, Encoded, Fenced, Log
from adapters.postgres import Factory
from adapters.postgres.connection import Address, connect
from adapters.postgres.log import open_log
from adapters.postgres.recorder import PostgresApplicationRecorder
from domain.envelope import Recorded, partition_of
from domain.event import Command
from domain.kinds import DECIDERS
from domain.stream import Stream
from domain.ticket import TICKETS
from tests.contract.places import taken
from tests.unit.given import NOON, CommandOf, Given, claim, lose, opening, passed, start, task
from workers.engine import Engine

pytestmark = pytest.mark.service

CODEC = Codec(DECIDERS)
LIFE: tuple[Command | CommandOf, ...] = (
    opening("A", task("B", "A")),
    claim("A"),
    start("A"),
    lose("A"),
    claim("A"),
    start("A"),
    passed("A"),
    claim("B"),
    claim("B"),  # asked again: accepted, and nothing more
    passed("B"),
)
"""A ticket from its opening to its end."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What engines say is not the subject here."""
    with structlog.testing.capture_logs():
        yield


def settings(
    address: Address, partitions: int = 1, more: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "adapters.postgres",
        "MAPPER_TOPIC": "adapters.library:RecordMapper",
        "ORIGINATOR_ID_TYPE": "text",
        "DATABASE_URL": address.dsn,
        "TURNSTILE_SCHEMA": address.schema,
        "TURNSTILE_PARTITIONS": str(partitions),
        **more,
    }


def application(address: Address, partitions: int = 1, **more: str) -> Application[str]:
    return Application[str](settings(address, partitions, more))


@contextmanager
def recorder(
    address: Address, partitions: int = 1, **more: str
) -> Iterator[PostgresApplicationRecorder]:
    with closing(Factory(settings(address, partitions, more))) as factory:
        yield factory.application_recorder()


@asynccontextmanager
async def running(log: Log) -> AsyncIterator[None]:
    engine = Engine("engine", log, DECIDERS, CODEC)
    serving = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        engine.stop()
        await serving


async def live(log: Log, stream: str, *facts: Command | CommandOf) -> None:
    """Have the engine decide all this, one after the other."""
    shadow = Given(stream=stream)
    async with asking(log) as asker:
        for fact in facts:
            submitted = shadow.submit(fact, id=uuid4())
            shadow.record(shadow.decide(submitted), submitted)
            answer = await asker.ask(submitted)
            assert answer.refusal is None
    assert shadow.stream.version


async def all_of(log: Log, partition: int = 0) -> list[Recorded]:
    """The events of a partition, as every other reader of the log has them."""
    seen: list[Recorded] = []
    end = await log.end(partition)
    async with aclosing(log.follow(partition)) as pages:  # type: ignore[type-var]
        while len(seen) < end:
            seen += await anext(pages)
    return seen


def folded(events: Sequence[Recorded], stream: str, version: int) -> Stream:
    result = Stream(stream, TICKETS.initial())
    for recorded in events:
        if recorded.originator_id == stream and recorded.originator_version <= version:
            result.fold(TICKETS, recorded)
    return result


def example(stream: str, version: int = 1, topic: str = "topic", state: bytes = b"") -> StoredEvent:
    """An event of some other application."""
    return StoredEvent(stream, version, topic, state or f"{stream} {version}".encode())


def stream_in(partition: int, partitions: int) -> str:
    """The id of a stream that lives there."""
    n = 0
    while partition_of(f"example/{n}", partitions) != partition:
        n += 1
    return f"example/{n}"


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


# -------------------------------------------------------------------------------------- reading


async def test_the_repository_gives_a_ticket_at_every_version_from_what_engines_wrote(
    address: Address,
) -> None:
    tickets = [f"ticket/{n}" for n in range(12)]
    async with open_log(address, CODEC, partitions=8) as log, running(log):
        for ticket in tickets:
            await live(log, ticket, *LIFE)
        written = [event for n in range(8) for event in await all_of(log, n)]
    assert 1 < len({partition_of(ticket, 8) for ticket in tickets})
    with application(address, 8) as app:
        for ticket in tickets:
            last = sum(1 for event in written if event.originator_id == ticket)
            for version in (*range(1, last + 1), None):
                stream: Stream = app.repository.get(ticket, version=version)
                assert folded(written, ticket, version or last) == stream
        with pytest.raises(AggregateNotFoundError):
            app.repository.get("ticket/nobody")


async def test_what_engines_wrote_has_the_bytes_that_the_mapper_makes(address: Address) -> None:
    async with open_log(address, CODEC, partitions=1) as log, running(log):
        await live(log, "ticket/9", *LIFE)
        written = await all_of(log)
    with application(address) as app:
        assert [app.mapper.to_stored_event(event) for event in written] == list(
            app.recorder.select_events("ticket/9")
        )
        assert [event.sequence for event in written] == [
            notification.id for notification in app.recorder.select_notifications(None, 1_000)
        ]


async def test_a_cached_ticket_is_taken_forward(address: Address) -> None:
    async with open_log(address, CODEC, partitions=1) as log, running(log):
        with application(address, AGGREGATE_CACHE_MAXSIZE="10") as app:
            await live(log, "ticket/9", *LIFE[:1])
            before: Stream = app.repository.get("ticket/9")
            await live(log, "ticket/10", *LIFE)
            same: Stream = app.repository.get("ticket/9")
            assert before == same
            async with asking(log) as asker:
                await asker.ask(Given(stream="ticket/9").submit(claim("A"), id=uuid4()))
            after: Stream = app.repository.get("ticket/9")
            assert folded(await all_of(log), "ticket/9", 99) == after
            assert before.version < after.version


def test_streams_are_read_from_the_partition_where_they_live(address: Address) -> None:
    streams = [stream_in(partition, 8) for partition in range(8)]
    with recorder(address, 8) as recording:
        for stream in streams:
            recording.insert_events([example(stream), example(stream, 2)])
        for stream in streams:
            assert [example(stream), example(stream, 2)] == recording.select_events(stream)
            assert [example(stream, 2)] == recording.select_events(stream, desc=True, limit=1)


# -------------------------------------------------------------------------------- notifications


def test_each_partition_has_notifications_of_its_own(address: Address) -> None:
    streams = [stream_in(partition, 3) for partition in range(3)]
    with recorder(address, 3) as writer:
        assert [1, 1, 2, 1] == writer.insert_events(
            [
                example(streams[2]),
                example(streams[0]),
                example(streams[2], 2),
                example(streams[1]),
            ]
        )
    for partition, stream in enumerate(streams):
        with recorder(address, 3, TURNSTILE_PARTITION=str(partition)) as reader:
            found = reader.select_notifications(None, 10)
            assert {stream} == {notification.originator_id for notification in found}
            assert len(found) == reader.max_notification_id()


def test_notifications_of_several_partitions_must_be_asked_for_by_partition(
    address: Address,
) -> None:
    with recorder(address, 3) as reader:
        for ask in (
            lambda: reader.select_notifications(None, 10),
            reader.max_notification_id,
            reader.subscribe,
        ):
            with pytest.raises(ProgrammingError, match="own: say which by TURNSTILE_PARTITION"):
                ask()
    with (
        pytest.raises(InfrastructureFactoryError, match="partitions 0 to 2"),
        recorder(address, 3, TURNSTILE_PARTITION="3"),
    ):
        pass


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


async def test_a_subscription_sees_what_an_engine_writes(address: Address) -> None:
    async with open_log(address, CODEC, partitions=1) as log, running(log):
        with application(address) as app, app.recorder.subscribe() as subscription:
            await live(log, "ticket/9", *LIFE)
            written = await all_of(log)
            seen = [await asyncio.to_thread(next, subscription) for _ in written]
    assert [event.sequence for event in written] == [notification.id for notification in seen]


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


def test_a_subscription_ends_with_an_error_when_the_infrastructure_is_closed(
    address: Address,
) -> None:
    with recorder(address) as reader:
        subscription = reader.subscribe()
    closed = pytest.raises((InterfaceError, OperationalError), match=r"clos(ed|ing)")
    with closed, subscription:
        next(subscription)


# -------------------------------------------------------------------------------------- writing


async def test_what_the_library_writes_is_followed_and_taken_over_by_engines(
    address: Address,
) -> None:
    history = Given(*LIFE[:2]).history
    async with open_log(address, CODEC, partitions=1) as log:
        with application(address) as app:
            app.save(*history)
        followed = await all_of(log)
        assert [1, 2, 3] == [event.sequence for event in followed]
        assert [replace(fact, sequence=0) for fact in history] == [
            replace(event, sequence=0) for event in followed
        ]
        async with running(log), asking(log) as asker:
            again = Given().submit(LIFE[0])
            assert 1 == (await asker.ask(again)).version
            await asker.ask(Given(*LIFE[:2]).submit(LIFE[2], id=uuid4()))
        assert 4 == len(await all_of(log))


async def test_a_decision_can_be_taken_with_the_library_alone(address: Address) -> None:
    with application(address) as app:
        app.save(*Given(*LIFE[:1]).history)
        stream: Stream = app.repository.get("ticket/9")
        submitted = Given().submit(claim("A"), id=uuid4())
        facts = stream.record(stream.decide(TICKETS, submitted, NOON, NOON), submitted, NOON)
        app.save(*facts)
        with pytest.raises(VersionTaken):
            app.save(*facts)
        claimed: Stream = app.repository.get("ticket/9")
        assert claimed.state.tasks["A"].at_work


async def test_a_live_engine_is_the_only_writer(address: Address) -> None:
    async with open_log(address, CODEC, partitions=1, lease=60) as log, running(log):
        await live(log, "ticket/9", *LIFE[:2])
        before = await all_of(log)
        with application(address) as app:
            for events in ([example("example/1")], [example("ticket/9", 99)]):
                with pytest.raises(PartitionOwned, match="0 belongs to the engine engine"):
                    await asyncio.to_thread(app.recorder.insert_events, events)
        assert before == await all_of(log)
        async with asking(log) as asker:  # and the engine goes on
            answer = await asker.ask(Given(*LIFE[:2]).submit(LIFE[2], id=uuid4()))
            assert len(before) + 1 == answer.version


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


WRITER = """
import sys
from eventsourcing.persistence import StoredEvent
from adapters.library import VersionTaken
from adapters.postgres import Factory

recorder = Factory(dict(line.split("=", 1) for line in sys.argv[1:])).application_recorder()
for line in sys.stdin:
    try:
        recorder.insert_events([StoredEvent("example/1", int(line), "topic", b"")])
    except VersionTaken:
        print("lost", flush=True)
    else:
        print("won", flush=True)
"""


def test_of_two_processes_exactly_one_writes_each_version(address: Address) -> None:
    arguments = [f"{name}={value}" for name, value in settings(address, 1).items()]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for version in range(1, 101):
        results = []
        for writer in writers:
            assert writer.stdin
            writer.stdin.write(f"{version}\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.stdout
            results.append(writer.stdout.readline())
        assert ["lost\n", "won\n"] == sorted(results)
    for writer in writers:
        writer.communicate()
        assert 0 == writer.returncode
    with recorder(address) as reader:
        assert list(range(1, 101)) == [event.id for event in reader.select_notifications(None, 999)]


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


def test_another_applications_state_comes_back_as_it_was(address: Address) -> None:
    foreign = [
        example("example/1", 1, state=b'{"specversion": "1.0"}'),
        example("example/1", 2, state=bytes(range(256))),
        example(
            "example/1",
            3,
            state=b'{"specversion":"1.0","id":"1","source":"/somebody/else","type":"t"}',
        ),
    ]
    with recorder(address) as recording:
        recording.insert_events(foreign)
        assert foreign == recording.select_events("example/1")


@pytest.mark.parametrize(
    "altered",
    [
        lambda state: state.replace(b'"version":1', b'"version": 1'),
        lambda state: state.replace(b'"version":1', b'"version":1,"sequence":7'),
        lambda state: state.replace(b'"version":1', b'"version":2'),
        lambda state: state.replace(b"ticket/9", b"ticket/8"),
    ],
)
def test_a_record_of_ours_is_refused_if_it_would_come_back_different(
    address: Address, altered: Any
) -> None:
    with application(address) as app:
        stored = app.mapper.to_stored_event(Given(*LIFE[:1]).history[0])
        state = altered(stored.state)
        assert state != stored.state
        with pytest.raises(DataError, match="not as our Mapper writes it"):
            app.recorder.insert_events([StoredEvent(stored.originator_id, 1, stored.topic, state)])


async def test_compressed_and_encrypted_events_come_back(address: Address) -> None:
    key = AESCipher.create_key(32)
    history = Given(*LIFE).history
    with application(address, COMPRESSOR_TOPIC="zlib", CIPHER_KEY=key) as app:
        app.save(*history)
        stream: Stream = app.repository.get("ticket/9")
        assert folded(history, "ticket/9", 99) == stream
        states = [event.state for event in app.recorder.select_events("ticket/9")]
        assert all(b'"data_base64":' in state and b'"data":' not in state for state in states)
    with application(address) as stranger, pytest.raises(MapperDeserialisationError):
        stranger.repository.get("ticket/9")
    async with connected(address) as connection:  # what is in the envelope stays readable
        assert [fact.causationid for fact in history] == [
            row["causationid"]
            for row in await connection.fetch("SELECT causationid FROM events ORDER BY sequence")
        ]


async def test_what_engines_compress_is_read_by_applications_that_do(address: Address) -> None:
    with application(address, COMPRESSOR_TOPIC="zlib") as app:
        codec = Codec(DECIDERS, compressor=app.mapper.compressor)
        history = Given(*LIFE).history
        placed = [replace(fact, sequence=n) for n, fact in enumerate(history, start=1)]
        async with open_log(address, codec, partitions=1) as log, log.join("a") as membership:
            owner = await taken(membership, 0)
            await owner.resume(0)
            encoded = [Encoded(fact, codec.encode_event(fact.event)) for fact in placed]
            await owner.commit(Decided(upto=1, events=encoded))
            await owner.release()
        assert [app.mapper.to_stored_event(fact) for fact in history] == list(
            app.recorder.select_events("ticket/9")
        )
        stream: Stream = app.repository.get("ticket/9")
        assert folded(history, "ticket/9", 99) == stream


# ------------------------------------------------------------------------------------- tracking


def test_a_version_taken_and_a_position_done_are_told_apart(address: Address) -> None:
    with closing(Factory(settings(address, 1))) as factory:
        recording = factory.process_recorder()
        recording.insert_events([example("example/1")], tracking=Tracking("other-0", 0))
        with pytest.raises(VersionTaken):
            recording.insert_events([example("example/1")], tracking=Tracking("other-0", 1))
        assert 0 == recording.max_tracking_id("other-0")
        with pytest.raises(AlreadyTracked):
            recording.insert_events([example("example/2")], tracking=Tracking("other-0", 0))
        assert [] == recording.select_events("example/2")
        assert 1 == recording.max_notification_id()


# -------------------------------------------------------------------------------------- failing


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


def test_another_number_of_partitions_is_refused(address: Address) -> None:
    with recorder(address, 3):
        pass
    with pytest.raises(OperationalError, match="3 partitions, for ever"), recorder(address, 4):
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"ORIGINATOR_ID_TYPE": "uuid"}, "ORIGINATOR_ID_TYPE can only be 'text'"),
        ({"TURNSTILE_PARTITIONS": "many"}, "partitions"),
        ({"TURNSTILE_SCHEMA": "no-name"}, "schema"),
        ({"APPLICATION_RECORDER_TOPIC": "eventsourcing.popo:POPOApplicationRecorder"}, "is no "),
    ],
)
def test_settings_that_cannot_be_are_refused(
    address: Address, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(InfrastructureFactoryError, match=message):
        Application[str](settings(address, more=wrong))


def test_the_applications_name_may_stand_before_a_setting(address: Address) -> None:
    class Reader(Application[str]):
        pass

    with Reader(
        {
            "PERSISTENCE_MODULE": "adapters.postgres",
            "READER_DATABASE_URL": address.dsn,
            "READER_TURNSTILE_SCHEMA": address.schema,
            "READER_TURNSTILE_PARTITIONS": "2",
            "READER_TURNSTILE_PARTITION": "1",
        }
    ) as app:
        assert None is app.recorder.max_notification_id()


def test_snapshots_are_refused(address: Address) -> None:
    with pytest.raises(NotSupportedError, match="snapshots"):
        application(address, IS_SNAPSHOTTING_ENABLED="y")


def test_ids_that_are_not_text_are_refused(address: Address) -> None:
    with recorder(address) as recording:
        with pytest.raises(ProgrammingError, match="text"):
            recording.insert_events([StoredEvent(UUID(int=1), 1, "topic", b"")])
        with pytest.raises(ProgrammingError, match="text"):
            recording.select_events(UUID(int=1))


def test_nothing_works_once_it_is_closed(address: Address) -> None:
    with recorder(address) as recording:
        pass
    for use in (
        lambda: recording.insert_events([example("example/1")]),
        lambda: recording.select_events("example/1"),
        recording.subscribe,
    ):
        with pytest.raises(InterfaceError, match="closed"):
            use()


def test_a_process_ends_though_it_closed_nothing(address: Address) -> None:
    program = (
        "import sys; from eventsourcing.application import Application\n"
        "app = Application(dict(line.split('=', 1) for line in sys.argv[1:]))\n"
        "print(app.recorder.max_notification_id())"
    )
    arguments = [f"{name}={value}" for name, value in settings(address, 1).items()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ("None\n", "") == (done.stdout, done.stderr)


def test_threads_and_connections_end_with_the_last_reference(address: Address) -> None:
    before = set(threading.enumerate())
    factory = Factory(settings(address))
    factory.application_recorder()
    (thread,) = set(threading.enumerate()) - before
    del factory
    thread.join(10)
    assert not thread.is_alive()
