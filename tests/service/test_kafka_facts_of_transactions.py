"""What transactions of aiokafka on Kafka do: the facts that the log in Kafka is designed to.

None of our code is tested here. When an upgrade makes one of these fail, the design is to be
looked at, not the test.
"""

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)
from aiokafka.producer import sender

from tests.service.kafka_clients import PATIENCE, fresh, new_topic, reading, sending, values

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """A fenced producer leaves a future with an exception that nobody can fetch.

    asyncio complains when it is collected. CPython 3.11 parses the lines of the traceback then, and
    raises SystemError if it was parsing already (pytest does), so collect it here.
    """
    yield
    gc.collect()


async def _offset(kafka: str, group: str, partition: TopicPartition) -> int | None:
    async with reading(kafka, group_id=group) as consumer:
        committed: int | None = await consumer.committed(partition)
        return committed


# ------------------------------------------------------------------------ 1: zombies


async def test_a_zombie_with_another_transactional_id_can_commit_offsets_of_a_partition_it_lost(
    kafka: str,
) -> None:
    group, partition = fresh("group"), TopicPartition(await new_topic(kafka), 0)
    async with (
        sending(kafka, transactional_id=fresh("zombie")) as zombie,
        sending(kafka, transactional_id=fresh("owner")) as owner,
        reading(kafka, group_id=group) as reader,
    ):
        async with owner.transaction():
            await owner.send_offsets_to_transaction({partition: 7}, group)
        async with zombie.transaction():
            await zombie.send_offsets_to_transaction({partition: 3}, group)
        async with asyncio.timeout(PATIENCE):
            while await reader.committed(partition) != 3:
                await asyncio.sleep(0.002)


async def test_a_zombie_with_the_same_transactional_id_can_not(kafka: str) -> None:
    group, partition = fresh("group"), TopicPartition(await new_topic(kafka), 0)
    identity = fresh("partition")
    async with sending(kafka, transactional_id=identity) as zombie:
        await zombie.begin_transaction()
        async with sending(kafka, transactional_id=identity) as owner:
            async with owner.transaction():
                await owner.send_offsets_to_transaction({partition: 7}, group)
            with pytest.raises(ProducerFenced):
                await zombie.send_offsets_to_transaction({partition: 3}, group)
        async with sending(kafka, transactional_id=identity):
            assert 7 == await _offset(kafka, group, partition)


# ---------------------------------------------------------------- 2: sends that fail


async def test_a_commit_succeeds_although_a_send_in_it_failed_and_the_producer_is_unusable_then(
    kafka: str,
) -> None:
    topic, identity = await new_topic(kafka, 1, {"max.message.bytes": "500"}), fresh("partition")
    async with (
        sending(kafka, transactional_id=identity) as producer,
        reading(kafka, TopicPartition(topic, 0)) as reader,
    ):
        await producer.begin_transaction()
        await producer.send(topic, b"good", partition=0)
        await producer.flush()
        failing = await producer.send(topic, bytes(1000), partition=0)
        await producer.commit_transaction()
        with pytest.raises(MessageSizeTooLargeError):
            await failing
        assert [b"good"] == await values(reader, 1)  # half a transaction

        await producer.begin_transaction()
        with pytest.raises(OutOfOrderSequenceNumber):
            await producer.send_and_wait(topic, b"after", partition=0)
        await producer.commit_transaction()

        async with (
            sending(kafka, transactional_id=identity) as successor,
            successor.transaction(),
        ):
            await successor.send_and_wait(topic, b"anew", partition=0)
        assert [b"anew"] == await values(reader, 1)


# ----------------------------------------------------------- 3: the order of a takeover


async def test_committed_offsets_are_right_after_a_successor_with_the_same_id_has_started(
    kafka: str,
) -> None:
    group, partition = fresh("group"), TopicPartition(await new_topic(kafka), 0)
    identity, seen = fresh("partition"), []
    async with reading(kafka, group_id=group) as reader:
        for offset in range(1, 11):
            async with sending(kafka, transactional_id=identity) as producer:
                if offset > 1:
                    seen.append(await reader.committed(partition))
                async with producer.transaction():
                    await producer.send_offsets_to_transaction({partition: offset}, group)
    assert list(range(1, 10)) == seen


async def test_what_was_committed_is_there_to_be_read_after_a_successor_has_started(
    kafka: str,
) -> None:
    partition, identity = TopicPartition(await new_topic(kafka), 0), fresh("partition")
    ends, all_ends = [], []
    async with (
        reading(kafka) as reader,
        reading(kafka, isolation_level="read_uncommitted") as careless,
    ):
        for _ in range(10):
            async with sending(kafka, transactional_id=identity) as producer:
                ends.append((await reader.end_offsets([partition]))[partition])
                all_ends.append((await careless.end_offsets([partition]))[partition])
                async with producer.transaction():
                    await producer.send_and_wait(partition.topic, b"event", partition=0)
    assert list(range(0, 20, 2)) == ends == all_ends


# --------------------------------------------------------------- 4: fenced producers

CALLS: dict[str, Callable[[Any, str], Awaitable[object]]] = {
    "begin": lambda producer, _: producer.begin_transaction(),
    "send": lambda producer, topic: producer.send_and_wait(topic, b"late", partition=0),
    "offsets": lambda producer, topic: producer.send_offsets_to_transaction(
        {TopicPartition(topic, 0): 1}, "group"
    ),
    "commit": lambda producer, _: producer.commit_transaction(),
    "abort": lambda producer, _: producer.abort_transaction(),
}


@asynccontextmanager
async def _fenced(kafka: str) -> AsyncIterator[tuple[Any, str]]:
    """A producer that was fenced within its transaction, and its topic."""
    topic, identity = await new_topic(kafka), fresh("partition")
    async with sending(kafka, transactional_id=identity) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"early", partition=0)
        async with sending(kafka, transactional_id=identity):
            yield producer, topic


@pytest.mark.parametrize("call", ["send", "offsets", "commit", "abort"])
async def test_a_fenced_producer_raises_producer_fenced_when_it_asks_the_broker(
    kafka: str, call: str
) -> None:
    async with _fenced(kafka) as (producer, topic):
        with pytest.raises(ProducerFenced):
            await CALLS[call](producer, topic)


async def test_a_fenced_producer_raises_other_errors_from_then_on_and_only_stop_still_works(
    kafka: str,
) -> None:
    raised = {}
    async with _fenced(kafka) as (producer, topic):
        with pytest.raises(ProducerFenced):
            await producer.commit_transaction()
        for name, call in CALLS.items():
            try:
                await call(producer, topic)
            except Exception as error:
                raised[name] = type(error)
        await producer.stop()
    assert {
        "begin": AssertionError,
        "send": IllegalOperation,
        "offsets": IllegalOperation,
        "commit": AssertionError,
        "abort": AssertionError,
    } == raised


async def test_a_fenced_producer_does_not_learn_of_it_by_an_empty_transaction(kafka: str) -> None:
    identity = fresh("partition")
    async with (
        sending(kafka, transactional_id=identity) as producer,
        sending(kafka, transactional_id=identity),
    ):
        await producer.begin_transaction()
        await producer.commit_transaction()


# --------------------------------------------------------- 5: what a transaction costs


async def test_the_pause_between_transactions_is_a_constant_of_the_sender(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\nBACKOFF_OVERRIDE = 0.02 " in inspect.getsource(sender)
    monkeypatch.setattr(sender, "BACKOFF_OVERRIDE", 0.0011)
    topic, slept, sleep = await new_topic(kafka), [], asyncio.sleep

    async def sleeping(delay: float) -> None:
        slept.append(delay)
        await sleep(delay)

    async with (
        asyncio.timeout(PATIENCE),
        sending(kafka, transactional_id=fresh("partition")) as producer,
    ):
        monkeypatch.setattr(asyncio, "sleep", sleeping)
        while slept.count(0.0011) < 2:
            async with producer.transaction():
                await producer.send_and_wait(topic, b"event", partition=0)
    assert 0.020 not in slept


@pytest.mark.parametrize("with_offsets", [True, False])
async def test_offsets_cost_a_transaction_two_requests_more(
    kafka: str, with_offsets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition, asked = TopicPartition(await new_topic(kafka), 0), []
    async with sending(kafka, transactional_id=fresh("partition")) as producer:
        send = producer.client.send

        async def noted(node: int, request: Any, **options: Any) -> Any:
            asked.append(type(request).__name__.removesuffix("Request"))
            return await send(node, request, **options)

        monkeypatch.setattr(producer.client, "send", noted)
        async with producer.transaction():
            await producer.send_and_wait(partition.topic, b"event", partition=0)
            if with_offsets:
                await producer.send_offsets_to_transaction({partition: 1}, fresh("group"))
    once = [name for name in dict.fromkeys(asked) if name != "FindCoordinator"]
    offsets = ["AddOffsetsToTxn", "TxnOffsetCommit"] if with_offsets else []
    assert ["AddPartitionsToTxn", "Produce", *offsets, "EndTxn"] == once


# ------------------------------------------------- 9: offsets, 10: what is abandoned


async def test_every_transaction_leaves_a_gap_in_the_offsets(kafka: str) -> None:
    topic = await new_topic(kafka)
    async with sending(kafka, transactional_id=fresh("partition")) as producer:
        offsets = []
        for _ in range(3):
            async with producer.transaction():
                offsets.append((await producer.send_and_wait(topic, b"event", partition=0)).offset)
    assert [0, 2, 4] == offsets


async def test_a_reader_reaches_the_end_behind_what_is_no_record(kafka: str) -> None:
    partition, identity = TopicPartition(await new_topic(kafka), 0), fresh("partition")
    async with sending(kafka, transactional_id=identity) as producer:
        async with producer.transaction():
            await producer.send_and_wait(partition.topic, b"event", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(partition.topic, b"never", partition=0)
        await producer.abort_transaction()
    async with sending(kafka, transactional_id=identity), reading(kafka, partition) as reader:
        end = (await reader.end_offsets([partition]))[partition]
        last, positions = -1, [await reader.position(partition)]
        async with asyncio.timeout(PATIENCE):
            while positions[-1] < end:
                for record in (await reader.getmany(timeout_ms=20)).get(partition, ()):
                    last = record.offset
                positions.append(await reader.position(partition))
        assert (0, 4, 4) == (last, end, positions[-1])


async def test_an_abandoned_transaction_holds_readers_back_until_a_successor_fences(
    kafka: str,
) -> None:
    partition, identity = TopicPartition(await new_topic(kafka), 0), fresh("partition")
    async with sending(kafka) as other, reading(kafka, partition) as reader:
        async with sending(kafka, transactional_id=identity) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(partition.topic, b"never", partition=0)
        # Nor does stop() abort it.
        await other.send_and_wait(partition.topic, b"other", partition=0)
        assert {partition: 0} == await reader.end_offsets([partition])
        async with sending(kafka, transactional_id=identity):
            assert {partition: 3} == await reader.end_offsets([partition])
            assert [b"other"] == await values(reader, 1)


async def test_an_abandoned_transaction_holds_readers_back_until_its_timeout(kafka: str) -> None:
    partition = TopicPartition(await new_topic(kafka), 0)
    async with (
        sending(kafka) as other,
        sending(
            kafka, transactional_id=fresh("partition"), transaction_timeout_ms=1000
        ) as producer,
        reading(kafka, partition) as reader,
    ):
        await producer.begin_transaction()
        await producer.send_and_wait(partition.topic, b"never", partition=0)
        await other.send_and_wait(partition.topic, b"other", partition=0)
        assert [b"other"] == await values(reader, 1)
        with pytest.raises(ProducerFenced):
            await producer.commit_transaction()


async def test_committed_offsets_do_not_wait_for_an_open_transaction(kafka: str) -> None:
    """As they would if aiokafka knew `require_stable`."""
    group, partition = fresh("group"), TopicPartition(await new_topic(kafka), 0)
    async with sending(kafka, transactional_id=fresh("partition")) as producer:
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({partition: 7}, group)
        assert await _offset(kafka, group, partition) is None
        await producer.abort_transaction()
