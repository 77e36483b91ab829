"""What an `eventsourcing` application may expect of every log that engines write."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog.testing
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.cipher import AESCipher
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    InterfaceError,
    MapperDeserialisationError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
)
from msgspec.structs import replace

from adapters import cloudevents
from adapters.asking import asking
from adapters.codec import Codec
from adapters.library import AlreadyTracked, PartitionOwned, VersionTaken
from adapters.log import Decided, Encoded
from domain.envelope import partition_of
from domain.kinds import DECIDERS
from domain.stream import Stream
from domain.ticket import TICKETS
from tests.contract.places import taken
from tests.contract.recording import (
    CODEC,
    LIFE,
    Site,
    all_of,
    application,
    example,
    factory,
    folded,
    live,
    recorder,
    running,
    settings,
    stream_in,
)
from tests.unit.given import NOON, Given, claim

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What engines say is not the subject here."""
    with structlog.testing.capture_logs():
        yield


# ------------------------------------------------------------------------------------------ reading


async def test_the_repository_gives_a_ticket_at_every_version_from_what_engines_wrote(
    place: Site,
) -> None:
    tickets = [f"ticket/{n}" for n in range(12)]
    async with place.open(8, codec=CODEC) as log, running(log):
        for ticket in tickets:
            await live(log, ticket, *LIFE)
        written = [event for n in range(8) for event in await all_of(log, n)]
    assert 1 < len({partition_of(ticket, 8) for ticket in tickets})
    with application(place.address, 8) as app:
        for ticket in tickets:
            last = sum(1 for event in written if event.originator_id == ticket)
            for version in (*range(1, last + 1), None):
                stream: Stream = app.repository.get(ticket, version=version)
                assert folded(written, ticket, version or last) == stream
        with pytest.raises(AggregateNotFoundError):
            app.repository.get("ticket/nobody")


async def test_what_engines_wrote_has_the_bytes_that_the_mapper_makes(place: Site) -> None:
    async with place.open(1, codec=CODEC) as log, running(log):
        await live(log, "ticket/9", *LIFE)
        written = await all_of(log)
    with application(place.address) as app:
        assert [app.mapper.to_stored_event(event) for event in written] == list(
            app.recorder.select_events("ticket/9")
        )
        assert [event.sequence for event in written] == [
            notification.id for notification in app.recorder.select_notifications(None, 1_000)
        ]


async def test_a_cached_ticket_is_taken_forward(place: Site) -> None:
    with application(place.address, AGGREGATE_CACHE_MAXSIZE="10") as app:
        async with place.open(1, codec=CODEC) as log, running(log):
            await live(log, "ticket/9", *LIFE[:1])
            before: Stream = app.repository.get("ticket/9")
            await live(log, "ticket/10", *LIFE)
            same: Stream = app.repository.get("ticket/9")
            assert before == same
            async with asking(log) as asker:
                claimed = Given(stream="ticket/9").submit(claim("A"), id=uuid4())
                last = (await asker.ask(claimed)).sequence
            written = await all_of(log, last=last)
            after: Stream = app.repository.get("ticket/9")
            assert folded(written, "ticket/9", 99) == after
            assert before.version < after.version


def test_streams_are_read_from_the_partition_where_they_live(place: Site) -> None:
    streams = [stream_in(partition, 8) for partition in range(8)]
    with recorder(place.address, 8) as recording:
        for stream in streams:
            recording.insert_events([example(stream), example(stream, 2)])
        for stream in streams:
            assert [example(stream), example(stream, 2)] == recording.select_events(stream)
            assert [example(stream, 2)] == recording.select_events(stream, desc=True, limit=1)


async def test_what_engines_compress_is_read_by_applications_that_do(place: Site) -> None:
    with application(place.address, COMPRESSOR_TOPIC="zlib") as app:
        codec = Codec(DECIDERS, compressor=app.mapper.compressor)
        history = Given(*LIFE).history
        placed = [replace(fact, sequence=n) for n, fact in enumerate(history, start=1)]
        async with place.open(1, codec=codec) as log, log.join("a") as membership:
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


# ------------------------------------------------------------------------------------ notifications


def test_each_partition_has_notifications_of_its_own(place: Site) -> None:
    streams = [stream_in(partition, 3) for partition in range(3)]
    with recorder(place.address, 3) as writer:
        for stream in reversed(streams):
            assert [1, 2] == writer.insert_events([example(stream), example(stream, 2)])
    for partition, stream in enumerate(streams):
        with recorder(place.address, 3, TURNSTILE_PARTITION=str(partition)) as reader:
            found = reader.select_notifications(None, 10)
            assert {stream} == {notification.originator_id for notification in found}
            assert len(found) == reader.max_notification_id()


def test_notifications_of_several_partitions_must_be_asked_for_by_partition(
    place: Site,
) -> None:
    with recorder(place.address, 3) as reader:
        for ask in (
            lambda: reader.select_notifications(None, 10),
            reader.max_notification_id,
            reader.subscribe,
        ):
            with pytest.raises(ProgrammingError, match="own: say which by TURNSTILE_PARTITION"):
                ask()
    with (
        pytest.raises(InfrastructureFactoryError, match="partitions 0 to 2"),
        recorder(place.address, 3, TURNSTILE_PARTITION="3"),
    ):
        pass


async def test_a_subscription_sees_what_an_engine_writes(place: Site) -> None:
    with application(place.address) as app:
        async with place.open(1, codec=CODEC) as log, running(log):
            with app.recorder.subscribe() as subscription:
                await live(log, "ticket/9", *LIFE)
                written = await all_of(log)
                seen = [await asyncio.to_thread(next, subscription) for _ in written]
    assert [event.sequence for event in written] == [notification.id for notification in seen]


def test_a_subscription_ends_with_an_error_when_the_infrastructure_is_closed(
    place: Site,
) -> None:
    with recorder(place.address) as reader:
        subscription = reader.subscribe()
    closed = pytest.raises((InterfaceError, OperationalError), match=r"clos(ed|ing)")
    with closed, subscription:
        next(subscription)


# ------------------------------------------------------------------------------------------ writing


async def test_what_the_library_writes_is_followed_and_taken_over_by_engines(
    place: Site,
) -> None:
    history = Given(*LIFE[:2]).history
    async with place.open(1, codec=CODEC) as log:
        with application(place.address) as app:
            app.save(*history)
        followed = await all_of(log, last=len(history))
        assert [1, 2, 3] == [event.sequence for event in followed]
        assert [replace(fact, sequence=0) for fact in history] == [
            replace(event, sequence=0) for event in followed
        ]
        async with running(log), asking(log) as asker:
            again = Given().submit(LIFE[0])
            assert 1 == (await asker.ask(again)).version
            answer = await asker.ask(Given(*LIFE[:2]).submit(LIFE[2], id=uuid4()))
            assert (4, 4) == (answer.version, answer.sequence)


async def test_a_decision_can_be_taken_with_the_library_alone(place: Site) -> None:
    with application(place.address) as app:
        app.save(*Given(*LIFE[:1]).history)
        stream: Stream = app.repository.get("ticket/9")
        submitted = Given().submit(claim("A"), id=uuid4())
        facts = stream.record(stream.decide(TICKETS, submitted, NOON, NOON), submitted, NOON)
        app.save(*facts)
        with pytest.raises(VersionTaken):
            app.save(*facts)
        claimed: Stream = app.repository.get("ticket/9")
        assert claimed.state.tasks["A"].at_work


async def test_a_live_engine_is_the_only_writer(place: Site) -> None:
    with application(place.address) as app:
        async with place.open(1, codec=CODEC) as log, running(log):
            await live(log, "ticket/9", *LIFE[:2])
            before = await all_of(log)
            for events in ([example("example/1")], [example("ticket/9", 99)]):
                with pytest.raises(PartitionOwned, match="0 belongs to the engine engine"):
                    await asyncio.to_thread(app.recorder.insert_events, events)
            assert before == await all_of(log)
            async with asking(log) as asker:  # and the engine goes on
                answer = await asker.ask(Given(*LIFE[:2]).submit(LIFE[2], id=uuid4()))
                assert len(before) + 1 == answer.version


WRITER = """
import sys
from eventsourcing.application import Application
from eventsourcing.persistence import StoredEvent
from adapters.library import VersionTaken

application = Application(dict(line.split("=", 1) for line in sys.argv[1:]))
for line in sys.stdin:
    try:
        application.recorder.insert_events([StoredEvent("example/1", int(line), "topic", b"")])
    except VersionTaken:
        print("lost", flush=True)
    else:
        print("won", flush=True)
"""


def test_of_two_processes_exactly_one_writes_each_version(place: Site) -> None:
    with recorder(place.address):
        pass  # the log is there
    arguments = [f"{name}={value}" for name, value in settings(place.address, 1).items()]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for version in range(1, 41):
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
    with recorder(place.address) as reader:
        assert list(range(1, 41)) == [event.id for event in reader.select_notifications(None, 999)]


def test_another_applications_state_comes_back_as_it_was(place: Site) -> None:
    foreign = [
        example("example/1", 1, state=b'{"specversion": "1.0"}'),
        example("example/1", 2, state=bytes(range(256))),
        example(
            "example/1",
            3,
            state=b'{"specversion":"1.0","id":"1","source":"/somebody/else","type":"t"}',
        ),
    ]
    with recorder(place.address) as recording:
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
    place: Site, altered: Any
) -> None:
    with application(place.address) as app:
        stored = app.mapper.to_stored_event(Given(*LIFE[:1]).history[0])
        state = altered(stored.state)
        assert state != stored.state
        with pytest.raises(DataError, match="not as our Mapper writes it"):
            app.recorder.insert_events([StoredEvent(stored.originator_id, 1, stored.topic, state)])


async def test_compressed_and_encrypted_events_come_back(place: Site) -> None:
    key = AESCipher.create_key(32)
    history = Given(*LIFE).history
    with application(place.address, COMPRESSOR_TOPIC="zlib", CIPHER_KEY=key) as app:
        app.save(*history)
        stream: Stream = app.repository.get("ticket/9")
        assert folded(history, "ticket/9", 99) == stream
        states = [event.state for event in app.recorder.select_events("ticket/9")]
        assert all(b'"data_base64":' in state and b'"data":' not in state for state in states)
        assert [fact.causationid for fact in history] == [  # the envelope stays readable
            cloudevents.parse(state).causationid for state in states
        ]
    with application(place.address) as stranger, pytest.raises(MapperDeserialisationError):
        stranger.repository.get("ticket/9")


def test_a_version_taken_and_a_position_done_are_told_apart(place: Site) -> None:
    with closing(factory(place.address)) as made:
        recording = made.process_recorder()
        recording.insert_events([example("example/1")], tracking=Tracking("other-0", 0))
        with pytest.raises(VersionTaken):
            recording.insert_events([example("example/1")], tracking=Tracking("other-0", 1))
        assert 0 == recording.max_tracking_id("other-0")
        with pytest.raises(AlreadyTracked):
            recording.insert_events([example("example/2")], tracking=Tracking("other-0", 0))
        assert [] == recording.select_events("example/2")
        assert 1 == recording.max_notification_id()


def test_ids_that_are_not_text_are_refused(place: Site) -> None:
    with recorder(place.address) as recording:
        with pytest.raises(ProgrammingError, match="text"):
            recording.insert_events([StoredEvent(UUID(int=1), 1, "topic", b"")])
        with pytest.raises(ProgrammingError, match="text"):
            recording.select_events(UUID(int=1))
