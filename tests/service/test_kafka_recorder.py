"""`eventsourcing` applications on the topics of the log: what is there, who reads, who writes.

What every log does is in `tests/contract/test_recorder.py`; what may go wrong, beside this file.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing
from eventsourcing.application import Application
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    InternalError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Tracking,
)

from adapters.codec import RECORD_LIMIT
from adapters.kafka.connection import Address
from adapters.kafka.log import open_log
from adapters.kafka.stored import StoredEvents
from adapters.kafka.tail import PAGE
from adapters.library import AlreadyTracked, PartitionOwned, VersionTaken
from adapters.log import Fenced
from tests.contract.counter import CODEC, Count, asked, batch
from tests.contract.places import taken
from tests.contract.places_kafka import KafkaPlace
from tests.contract.recording import (
    LIFE,
    application,
    example,
    factory,
    recorder,
    settings,
    stream_in,
)
from tests.kafka_proxy import Api, commits, proxied
from tests.service.kafka_recording import behind, found, insert, subscribed
from tests.unit.given import Given

pytestmark = pytest.mark.service

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a log says is not the subject here."""
    with structlog.testing.capture_logs():
        yield


@pytest_asyncio.fixture
async def place(kafka: str) -> AsyncIterator[KafkaPlace]:
    async with proxied(kafka) as proxy:
        yield KafkaPlace(kafka, proxy)


# -------------------------------------------------------------------------------- what is there


async def test_another_library_finds_exactly_what_was_acknowledged(place: KafkaPlace) -> None:
    facts = Given(*LIFE[:2]).history
    acknowledged: dict[int, tuple[Any, int, int]] = {}

    def write(writer: int) -> None:
        for version in range(1, 6):
            event = example(f"example/{writer % 3}", version)  # half of them will be refused
            try:
                [sequence] = app.recorder.insert_events([event]) or ()
            except VersionTaken:
                continue
            acknowledged[sequence] = event.originator_id, version, sequence

    with application(place.address) as app:
        await asyncio.gather(*(asyncio.to_thread(write, writer) for writer in range(6)))
        with pytest.raises(DataError):
            app.recorder.insert_events([example("example/0", 9, state=b"x" * RECORD_LIMIT)])
        app.save(*facts)
    records = await found(place.address, 15 + len(facts))
    assert [acknowledged[sequence] for sequence in range(1, 16)] == [
        record.event for record in records[:15]
    ]
    assert [
        (fact.originator_id, fact.originator_version, sequence)
        for sequence, fact in enumerate(facts, start=16)
    ] == [record.event for record in records[15:]]
    for record in records:
        assert record.value["subject"] == record.key
        assert b"application/cloudevents+json" == record.headers["content-type"]


async def test_what_another_application_stores_has_a_source_of_its_own(place: KafkaPlace) -> None:
    with recorder(place.address) as recording:
        recording.insert_events([example("example/1", 7, "a topic", b"any bytes\0")])
    [record] = await found(place.address, 1)
    expected = {
        "specversion": "1.0",
        "source": "eventsourcing",
        "type": "a topic",
        "subject": "example/1",
        "version": 7,
        "sequence": 1,
        "data_base64": "YW55IGJ5dGVzAA==",
    }
    assert expected == {name: record.value[name] for name in expected}


# --------------------------------------------------------------------------------- who reads


async def test_reading_opens_no_producer_and_an_owner_goes_on_meanwhile(place: KafkaPlace) -> None:
    command = asked(Count())
    async with open_log(place.address, CODEC, partitions=1) as log, log.join("a") as membership:
        owner = await taken(membership, 0)
        await owner.resume(0)
        async with behind(place) as reader, subscribed(reader) as subscription:
            with place.proxy.losing(Api.INIT_PRODUCER_ID, Api.PRODUCE) as caught:
                for n in range(1, 6):
                    await owner.commit(batch(command, NOW, version=n, sequence=n, upto=n))
                    seen = await asyncio.to_thread(next, subscription)
                    assert n == seen.id == await asyncio.to_thread(reader.max_notification_id)
                    assert n == len(await asyncio.to_thread(reader.select_events, command.stream))
                    assert seen == (await asyncio.to_thread(reader.select_notifications, n, 9))[0]
                    assert await asyncio.to_thread(reader.max_tracking_id, "other") is None
            assert 0 == caught.count
        await owner.release()


async def test_what_was_read_early_is_a_prefix_of_what_is_read_later(place: KafkaPlace) -> None:
    with (
        recorder(place.address) as second,
        recorder(place.address) as reader,
    ):
        async with behind(place) as first:
            with place.proxy.holding(Api.END_TXN, when=commits) as paused:
                one = asyncio.create_task(insert(first, example("example/1")))
                await paused.arrived()
                assert [1] == await asyncio.to_thread(second.insert_events, [example("example/2")])
                early = await asyncio.to_thread(reader.select_notifications, None, 10)
            assert [2] == await one
        late = reader.select_notifications(None, 10)
    assert [1] == [notification.id for notification in early]
    assert early == late[: len(early)]
    assert ["example/2", "example/1"] == [event.originator_id for event in late]


def test_a_new_process_finds_everything_and_so_does_an_old_one_that_forgot(
    place: KafkaPlace,
) -> None:
    events = [example(f"example/{n % 3}", n) for n in range(30)]
    with closing(factory(place.address)) as made:
        recording = made.process_recorder()
        for n, event in enumerate(events):
            recording.insert_events([event], tracking=Tracking("other-0", n))
        store = recording.store
        assert isinstance(store, StoredEvents)
        recording.bridge.run(store.forget())
        with closing(factory(place.address)) as another:
            for one in (recording, another.process_recorder()):
                assert events == [
                    example(str(seen.originator_id), seen.originator_version)
                    for seen in one.select_notifications(None, 99)
                ]
                assert events[1::3] == one.select_events("example/1")
                assert 29 == one.max_tracking_id("other-0")
        with pytest.raises(VersionTaken):
            recording.insert_events([events[-1]], tracking=Tracking("other-0", 30))
        with pytest.raises(AlreadyTracked):
            recording.insert_events([example("example/4")], tracking=Tracking("other-0", 29))
        assert [31] == recording.insert_events([example("example/4")])


def test_events_are_found_however_many_others_are_between(place: KafkaPlace) -> None:
    rare = [example("example/rare", n, "rare") for n in range(4)]
    with recorder(place.address) as recording:
        for n, event in enumerate(rare):
            recording.insert_events([event])
            recording.insert_events([example(f"example/{n}", v) for v in range(PAGE + 50)])
        assert rare == recording.select_events("example/rare")
        assert rare[2:0:-1] == recording.select_events("example/rare", gt=0, lte=2, desc=True)
        ids = [1 + n * (PAGE + 51) for n in range(4)]
        assert ids[1:3] == [
            event.id for event in recording.select_notifications(2, 2, topics=["rare"])
        ]
        assert list(range(2, 2 * PAGE)) == [
            event.id for event in recording.select_notifications(2, 9 * PAGE, stop=2 * PAGE - 1)
        ]


async def test_a_log_that_lacks_an_event_is_not_read_as_if_it_were_whole(place: KafkaPlace) -> None:
    with application(place.address) as app:
        app.save(*Given(*LIFE[:2]).history)
    await place.lose_event(0, 2)
    with (
        recorder(place.address) as reader,
        pytest.raises(InternalError, match="has 3 where 2 should be"),
    ):
        reader.select_events("ticket/9")


# --------------------------------------------------------------------------------- who writes


async def test_a_writer_fences_an_engine_that_is_a_member_no_more(place: KafkaPlace) -> None:
    async with open_log(place.address, CODEC, partitions=1) as log, log.join("a") as membership:
        owner = await taken(membership, 0)
        await owner.resume(0)
        await membership.leave()
        with recorder(place.address) as recording:
            assert [1] == await asyncio.to_thread(recording.insert_events, [example("example/1")])
        with pytest.raises(Fenced):
            await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
        await owner.release()
    assert [("example/1", 1, 1)] == [record.event for record in await found(place.address, 1)]


async def test_an_engine_fences_a_writer_which_is_refused_from_then_on(place: KafkaPlace) -> None:
    command = asked(Count())
    with application(place.address) as app:
        app.recorder.insert_events([example("example/1")])
        async with open_log(place.address, CODEC) as log, log.join("a") as membership:
            owner = await taken(membership, 0)
            await owner.resume(0)
            for n in (2, 3):
                with pytest.raises(PartitionOwned, match="0 belongs to the engine a"):
                    await asyncio.to_thread(app.recorder.insert_events, [example("example/2")])
                await owner.commit(batch(command, NOW, version=n - 1, sequence=n, upto=n))
            await owner.release()
        assert [4] == app.recorder.insert_events([example("example/2")])
    assert [
        ("example/1", 1, 1),
        (command.stream, 1, 2),
        (command.stream, 2, 3),
        ("example/2", 1, 4),
    ] == [record.event for record in await found(place.address, 4)]


async def test_nobody_writes_while_the_engines_share_anew(place: KafkaPlace) -> None:
    with recorder(place.address) as recording:
        async with (
            place.open(1) as log,
            open_log(place.address, CODEC) as other,
            log.join("a") as membership,
            other.join("b") as newcomer,
        ):
            owner = await taken(membership, 0)
            with place.proxy.holding(Api.JOIN_GROUP) as joining:
                entering = asyncio.create_task(newcomer.granted())
                await joining.arrived()
                with pytest.raises(PartitionOwned, match="the engines, who share anew"):
                    await asyncio.to_thread(recording.insert_events, [example("example/1")])
            await owner.resume(0)
            await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
            await entering
            await owner.release()


def test_events_of_several_partitions_are_refused(place: KafkaPlace) -> None:
    one, other = stream_in(1, 3), stream_in(2, 3)
    with closing(factory(place.address, 3, TURNSTILE_PARTITION="1")) as made:
        recording = made.process_recorder()
        with pytest.raises(ProgrammingError, match=r"partitions \[1, 2\]"):
            recording.insert_events([example(one), example(other)])
        with pytest.raises(ProgrammingError, match="partition 2, and the tracking in 1"):
            recording.insert_events([example(other)], tracking=Tracking("other", 1))
        assert [] == [*recording.select_events(one), *recording.select_events(other)]
        assert recording.max_tracking_id("other") is None
        assert [1] == recording.insert_events([example(one)], tracking=Tracking("other", 1))
        assert [1] == recording.insert_events([example(other)])


def test_tracking_in_a_log_of_several_partitions_must_say_in_which(place: KafkaPlace) -> None:
    with closing(factory(place.address, 3)) as made:
        tracking = made.tracking_recorder()
        with pytest.raises(ProgrammingError, match="own: say which by TURNSTILE_PARTITION"):
            tracking.insert_tracking(Tracking("other", 1))
        with pytest.raises(ProgrammingError, match="own: say which by TURNSTILE_PARTITION"):
            tracking.max_tracking_id("other")


async def test_marks_are_found_by_the_name_of_their_application(place: KafkaPlace) -> None:
    with closing(factory(place.address)) as made:
        made.application_recorder().insert_events([example("example/1")])
        tracking = made.tracking_recorder()
        tracking.insert_tracking(Tracking("other", 7))
        tracking.insert_tracking(Tracking("another", 0))
        for position in (7, 6):
            with pytest.raises(AlreadyTracked):
                tracking.insert_tracking(Tracking("other", position))
        tracking.insert_tracking(Tracking("other", 9))
        assert [9, 0, None] == [
            tracking.max_tracking_id(name) for name in ("other", "another", "nobody")
        ]
    assert [("other", 7), ("another", 0), ("other", 9)] == [
        (record.key, record.value["notification_id"])
        for record in await found(place.address, 3, "tracking")
    ]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (example("example/1", state=b"x" * RECORD_LIMIT), "bytes are more than the 524288"),
        (example("example/\ud800", state=b"x"), "cannot be stored"),
        (example("example/1", topic="\ud800"), "cannot be stored"),
        (example("example/1", 2**63), "cannot be stored"),
    ],
)
def test_what_cannot_be_stored_fails_alone(
    place: KafkaPlace, event: StoredEvent, message: str
) -> None:
    with recorder(place.address) as recording:
        with pytest.raises(DataError, match=message):
            recording.insert_events([example("example/1"), event])
        assert [] == recording.select_events("example/1")
        assert [1] == recording.insert_events([example("example/1")])


def test_the_largest_record_is_stored(place: KafkaPlace) -> None:
    largest = example("example/1", state=b"x" * 392_900)
    with recorder(place.address) as recording:
        recording.insert_events([largest])
        assert [largest] == recording.select_events("example/1")


# ----------------------------------------------------------------------------------- settings


def test_a_log_that_is_not_there_is_not_made_when_told_so(place: KafkaPlace) -> None:
    absent = pytest.raises(OperationalError, match="there is no topic")
    with absent, recorder(place.address, CREATE_TABLE="f"):
        pass
    with recorder(place.address):
        pass
    with recorder(place.address, CREATE_TABLE="f") as recording:
        assert [1] == recording.insert_events([example("example/1")])


def test_a_cluster_that_is_away_is_an_operational_error() -> None:
    with pytest.raises(OperationalError), recorder(Address("127.0.0.1:1")):
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"TURNSTILE_KAFKA": ""}, "TURNSTILE_KAFKA is not set"),
        ({"TURNSTILE_KAFKA": "nowhere"}, "kafka"),
        ({"TURNSTILE_KAFKA_SECURITY": "some"}, "kafka_security"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    place: KafkaPlace, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(InfrastructureFactoryError, match=message):
        Application[str](settings(place.address, more=wrong))
