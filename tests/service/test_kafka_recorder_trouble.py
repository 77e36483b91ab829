"""Writers on the topics of the log when something goes wrong: what they are told is what is so."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing
from aiokafka.admin import NewTopic
from eventsourcing.persistence import OperationalError, StoredEvent, Tracking

from adapters.kafka.connection import running
from adapters.kafka.log import open_log
from adapters.kafka.topics import TOPICS
from adapters.library import PartitionOwned, VersionTaken
from adapters.log import Rejected, Unavailable
from adapters.recorders import LogProcessRecorder
from tests.contract.counter import CODEC, Count, asked, batch
from tests.contract.places import taken
from tests.contract.places_kafka import KafkaPlace
from tests.contract.recording import example, recorder
from tests.kafka_proxy import Api, Request, commits, commits_by, proxied
from tests.service.kafka_recording import behind, found, insert, subscribed, through, writing

pytestmark = pytest.mark.service

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON = 0.4
"""Seconds after which a transaction has failed, where that is to happen."""

Said = list[Any]


@pytest.fixture(autouse=True)
def said() -> Iterator[Said]:
    """What is logged."""
    with structlog.testing.capture_logs() as logs:
        yield logs


@pytest_asyncio.fixture
async def place(kafka: str) -> AsyncIterator[KafkaPlace]:
    async with proxied(kafka) as proxy:
        yield KafkaPlace(kafka, proxy)


async def events(place: KafkaPlace, count: int) -> list[tuple[str, int, int]]:
    """Stream, version and sequence of all that another library finds."""
    return [record.event for record in await found(place.address, count)]


# ---------------------------------------------------------------------------------- processes


async def test_what_a_killed_process_was_told_is_there_and_at_most_one_event_more(
    place: KafkaPlace,
) -> None:
    async with writing(place.address) as writer:
        for version in range(1, 301):
            await writer.ask("example/1", version)
        for sequence in range(1, 31):
            assert str(sequence) == await writer.answer()
        writer.process.kill()
        told = 30
        while await writer.answer():
            told += 1
    with recorder(place.address) as successor:
        [sequence] = successor.insert_events([example("example/2")]) or ()
    assert sequence - told in (1, 2)
    assert [
        *(("example/1", n, n) for n in range(1, sequence)),
        ("example/2", 1, sequence),
    ] == await events(place, sequence)


async def test_what_a_killed_process_had_not_committed_never_was(place: KafkaPlace) -> None:
    async with writing(through(place)) as writer:
        assert "1" == await writer.write("example/1", 1)
        with place.proxy.holding(Api.END_TXN, when=commits) as held:
            await writer.ask("example/1", 2)
            await held.arrived()
            writer.process.kill()
            await writer.process.wait()
            with recorder(place.address) as successor:
                for event in (example("example/2"), example("example/1", 2)):
                    await asyncio.to_thread(successor.insert_events, [event])
    expected = [("example/1", 1, 1), ("example/2", 1, 2), ("example/1", 2, 3)]
    assert expected == await events(place, 3)


@pytest.mark.parametrize(
    ("written", "answer"),
    [("example/1", "VersionTaken"), ("example/2", "2")],
    ids=["that writes the same", "that writes something else"],
)
async def test_a_zombie_decides_again_from_what_its_successor_wrote(
    place: KafkaPlace, written: str, answer: str
) -> None:
    async with writing(through(place)) as zombie:
        with place.proxy.holding(Api.END_TXN, when=commits) as held:
            await zombie.ask("example/1", 1)
            await held.arrived()
            zombie.process.send_signal(signal.SIGSTOP)
            with recorder(place.address) as successor:
                assert [1] == await asyncio.to_thread(successor.insert_events, [example(written)])
        zombie.process.send_signal(signal.SIGCONT)
        assert answer == await zombie.answer()
    expected = [(written, 1, 1), ("example/1", 1, 2)][: 2 if answer == "2" else 1]
    assert expected == await events(place, len(expected))


async def test_a_zombie_whose_successor_is_an_engine_is_refused(place: KafkaPlace) -> None:
    command = asked(Count())
    async with open_log(place.address, CODEC, partitions=1) as log, log.join("a") as membership:
        async with writing(through(place)) as zombie:
            with place.proxy.holding(Api.END_TXN, when=commits) as held:
                await zombie.ask("example/1", 1)
                await held.arrived()
                zombie.process.send_signal(signal.SIGSTOP)
                owner = await taken(membership, 0)
                await owner.resume(0)
                await owner.commit(batch(command, NOW, version=1, sequence=1, upto=1))
            zombie.process.send_signal(signal.SIGCONT)
            assert "PartitionOwned" == await zombie.answer()
            assert "PartitionOwned" == await zombie.write("example/1", 1)
            await owner.commit(batch(command, NOW, version=2, sequence=2, upto=2))
        await owner.release()
    assert [(command.stream, 1, 1), (command.stream, 2, 2)] == await events(place, 2)


async def test_two_processes_both_get_on(place: KafkaPlace) -> None:
    async with writing(place.address) as one, writing(place.address) as other:
        writers = {"example/1": one, "example/2": other}
        for stream, writer in writers.items():
            for version in range(1, 31):
                await writer.ask(stream, version)
        told = [
            (stream, version, int(await writer.answer()))
            for stream, writer in writers.items()
            for version in range(1, 31)
        ]
    assert sorted(told, key=lambda event: event[2]) == await events(place, 60)
    assert list(range(1, 61)) == sorted(sequence for _, _, sequence in told)


# -------------------------------------------------------------------------------------- commits


@pytest.mark.parametrize("tracking", [None, Tracking("other", 7)], ids=["events", "and a mark"])
async def test_a_commit_whose_response_was_lost_is_found_in_the_log(
    place: KafkaPlace, tracking: Tracking | None
) -> None:
    async with behind(place, SOON) as recording:
        with place.proxy.losing_responses(Api.END_TXN, when=commits) as lost:
            written = await insert(
                recording, example("example/1"), example("example/1", 2), tracking=tracking
            )
            assert [1, 2] == written
        assert lost.count
        mark = None if tracking is None else 7
        assert mark == await asyncio.to_thread(recording.max_tracking_id, "other")
        assert [3] == await insert(recording, example("example/1", 3))
    assert [("example/1", n, n) for n in (1, 2, 3)] == await events(place, 3)


# It makes so much that garbage is collected in it, also a consumer that an earlier test has left.
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. .function AIOKafkaConsumer.__del__:"
    "pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("api", [Api.END_TXN, Api.PRODUCE, Api.ADD_PARTITIONS_TO_TXN])
async def test_a_commit_that_was_lost_is_an_error_and_nothing_was_written(
    place: KafkaPlace, api: Api
) -> None:
    event, mark = example("example/1"), Tracking("other", 7)
    async with behind(place, SOON) as recording:
        with (
            place.proxy.losing(when=commits_by(api)) as lost,
            pytest.raises(OperationalError, match="nothing was written"),
        ):
            await insert(recording, event, tracking=mark)
        assert lost.count
        assert [] == await asyncio.to_thread(recording.select_events, "example/1")
        assert await asyncio.to_thread(recording.max_tracking_id, "other") is None
        assert [1] == await insert(recording, event, tracking=mark)
    assert [("example/1", 1, 1)] == await events(place, 1)
    assert [b"other"] == [
        record.key.encode() for record in await found(place.address, 1, "tracking")
    ]


async def test_a_mark_whose_commit_response_was_lost_is_found_in_the_log(
    place: KafkaPlace,
) -> None:
    async with behind(place, SOON) as recording:
        with place.proxy.losing_responses(Api.END_TXN, when=commits) as lost:
            await asyncio.to_thread(recording.insert_tracking, Tracking("other", 7))
        assert lost.count
    assert [7] == [
        record.value["notification_id"] for record in await found(place.address, 1, "tracking")
    ]


async def test_while_nobody_knows_the_outcome_a_writer_waits_and_others_are_refused(
    place: KafkaPlace, said: Said
) -> None:
    async with behind(place, SOON) as recording:
        with place.proxy.losing_responses(Api.END_TXN, when=commits) as lost:
            waiting = asyncio.create_task(insert(recording, example("example/1")))
            await lost.arrived()
            with place.proxy.losing(Api.API_VERSIONS):  # nobody can connect
                while not any(line["event"] == "outcome_unknown" for line in said):
                    await asyncio.sleep(0.005)
                with pytest.raises(OperationalError):
                    await insert(recording, example("example/2"))
                assert not waiting.done()
        assert [1] == await waiting
    assert [("example/1", 1, 1)] == await events(place, 1)


@pytest.mark.parametrize("is_committed", [True, False])
async def test_an_engine_that_takes_over_settles_what_nobody_knew(
    place: KafkaPlace, is_committed: bool
) -> None:
    lose = place.proxy.losing_responses if is_committed else place.proxy.losing
    async with (
        open_log(place.address, CODEC, partitions=1) as log,
        behind(place) as recording,
        log.join("a") as membership,
    ):
        with lose(Api.END_TXN, when=commits) as lost:
            written = asyncio.create_task(insert(recording, example("example/1")))
            await lost.arrived()
            owner = await taken(membership, 0)
        if is_committed:
            assert [1] == await written
        else:
            with pytest.raises(PartitionOwned):
                await written
        await owner.release()
    expected = [("example/1", 1, 1)] if is_committed else []
    assert expected == await events(place, len(expected))


# ----------------------------------------------------------------------------- group commit


def queued(recording: LogProcessRecorder, *requests: StoredEvent) -> list["asyncio.Future[Any]"]:
    """Have the writer wait for a chance to write each of them, in this order."""
    started = [recording.bridge.start(recording.store.insert([event])) for event in requests]
    recording.bridge.run(asyncio.sleep(0))
    return [asyncio.wrap_future(one) for one in started]


async def test_requests_that_wait_are_written_in_one_transaction(place: KafkaPlace) -> None:
    ended = []

    def note(request: Request) -> bool:
        if commits(request):
            ended.append(request)
        return False

    async with behind(place) as recording:
        with place.proxy.losing(Api.END_TXN, when=note):
            with place.proxy.holding(Api.END_TXN, when=commits) as held:
                first = queued(recording, example("example/1"))
                await held.arrived()
                more = queued(recording, *(example("example/1", n) for n in range(2, 12)))
            assert [[n] for n in range(1, 12)] == await asyncio.gather(*first, *more)
    assert 2 == len(ended)


async def test_of_two_requests_that_wait_with_the_same_version_one_is_refused(
    place: KafkaPlace,
) -> None:
    async with behind(place) as recording:
        with place.proxy.holding(Api.END_TXN, when=commits) as held:
            [first] = queued(recording, example("example/1"))
            await held.arrived()
            one, other, third = queued(
                recording,
                example("example/2", state=b"one"),
                example("example/2", state=b"other"),
                example("example/3"),
            )
        assert [[1], [2], [3]] == [await written for written in (first, one, third)]
        with pytest.raises(VersionTaken):
            await other
        [kept] = await asyncio.to_thread(recording.select_events, "example/2")
        assert b"one" == kept.state


async def test_a_request_is_not_refused_because_of_one_that_was_not_written(
    place: KafkaPlace,
) -> None:
    async with behind(place, SOON) as recording:
        await insert(recording, example("example/1"))
        with (
            place.proxy.holding(Api.INIT_PRODUCER_ID) as fence,
            place.proxy.losing(Api.END_TXN, when=commits),
        ):
            one, other = queued(
                recording,
                example("example/2", state=b"one"),
                example("example/2", state=b"other"),
            )
            await fence.arrived()
        with pytest.raises(Unavailable):
            await one
        assert [2] == await other
        [kept] = await asyncio.to_thread(recording.select_events, "example/2")
        assert b"other" == kept.state


async def test_a_send_that_the_broker_rejects_fails_alone(place: KafkaPlace) -> None:
    narrow = {**TOPICS["events"], "max.message.bytes": "2000"}
    async with running(place.address.admin()) as admin:
        topic = NewTopic(place.address.topic("events"), 1, 1, topic_configs=narrow)
        await admin.create_topics([topic])
    async with behind(place) as recording:
        with place.proxy.holding(Api.END_TXN, when=commits) as held:
            first = queued(recording, example("example/1"))
            await held.arrived()
            small, large, another = queued(
                recording,
                example("example/2"),
                example("example/3", state=b"x" * 2_000),
                example("example/4"),
            )
        assert [[1], [2], [3]] == await asyncio.gather(*first, small, another)
        with pytest.raises(Rejected):
            await large
        assert [4] == await insert(recording, example("example/5"))
    assert [(f"example/{stream}", 1, n) for n, stream in enumerate((1, 2, 4, 5), start=1)] == (
        await events(place, 4)
    )


# -------------------------------------------------------------------------------------- readers


async def test_a_subscription_outlives_its_connections(place: KafkaPlace) -> None:
    with recorder(place.address) as writer:
        async with behind(place) as reader, subscribed(reader) as subscription:
            for n in range(1, 4):
                place.proxy.cut()
                await asyncio.to_thread(writer.insert_events, [example("example/1", n)])
                assert n == (await asyncio.to_thread(next, subscription)).id
