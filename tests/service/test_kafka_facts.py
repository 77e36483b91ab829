"""What aiokafka and Kafka do beside transactions: the facts that the log in Kafka is designed to.

None of our code is tested here. When an upgrade makes one of these fail, the design is to be
looked at, not the test. Facts 1 to 5, 9 and 10 are in `test_kafka_facts_of_transactions.py`.
"""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiokafka.codec
import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator import assignors
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    IllegalOperation,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnsupportedCodecError,
)
from aiokafka.partitioner import DefaultPartitioner, murmur2

from tests.service.kafka_clients import (
    PATIENCE,
    Listener,
    administering,
    fresh,
    joining,
    new_topic,
    reading,
    sending,
    until,
    values,
)

pytestmark = pytest.mark.service


# --------------------------------------------------------------------------- 6: rebalances


async def test_a_rebalance_happens_in_the_background_and_waits_for_the_listener(
    kafka: str,
) -> None:
    group, topic = fresh("group"), await new_topic(kafka, 2)
    first, second = Listener(), Listener()
    async with joining(kafka, group, topic, first) as consumer:
        waiting = asyncio.create_task(consumer.getone())
        first.free.clear()

        async def follow() -> None:
            async with joining(kafka, group, topic, second):
                await until(lambda: len(first.told) == 4)

        following = asyncio.create_task(follow())
        await until(lambda: len(first.told) == 3)
        await until(lambda: second.told)
        assert [("revoked", set())] == second.told  # and nothing is assigned to it
        assert not waiting.done()
        first.free.set()
        await following
        async with sending(kafka) as producer:
            await producer.send_and_wait(topic, b"record", partition=0)
        assert b"record" == (await asyncio.wait_for(waiting, PATIENCE)).value


@pytest.mark.parametrize("fails", [False, True])
async def test_a_listener_hears_of_all_partitions_twice_but_not_of_the_stop_and_may_raise(
    kafka: str, fails: bool
) -> None:
    group, topic = fresh("group"), await new_topic(kafka, 2)
    first, second = Listener(fails), Listener(fails)
    async with joining(kafka, group, topic, first) as consumer:
        async with joining(kafka, group, topic, second) as other:
            await until(lambda: len(first.told) == 4)
            (kept,) = consumer.assignment()
            (taken,) = other.assignment()
        assert [("revoked", set()), ("assigned", {taken.partition})] == second.told
        await until(lambda: len(first.told) == 6)
    assert [
        ("revoked", set()),
        ("assigned", {0, 1}),
        ("revoked", {0, 1}),
        ("assigned", {kept.partition}),
        ("revoked", {kept.partition}),
        ("assigned", {0, 1}),
    ] == first.told


async def test_a_member_whose_listener_takes_too_long_is_given_up_and_does_not_know(
    kafka: str,
) -> None:
    group, topic = fresh("group"), await new_topic(kafka, 2)
    first, second = Listener(), Listener()
    short = {"rebalance_timeout_ms": 100}
    async with joining(kafka, group, topic, first, **short) as consumer:
        first.free.clear()
        async with joining(kafka, group, topic, second, **short) as other:
            assert consumer.assignment() == other.assignment()
            assert 2 == len(other.assignment())
            first.free.set()
            await until(lambda: len(first.told) == 4)


# ------------------------------------------------------------- 7: what groups can and cannot do


async def test_no_assignor_is_cooperative() -> None:
    for module in pkgutil.walk_packages(assignors.__path__, f"{assignors.__name__}."):
        importlib.import_module(module.name)
    assert {"range", "roundrobin", "sticky"} == {
        each.name for each in AbstractPartitionAssignor.__subclasses__()
    }


async def test_the_sticky_assignor_also_revokes_what_it_will_assign_again(kafka: str) -> None:
    group, topic = fresh("group"), await new_topic(kafka, 2)
    first, sticky = Listener(), {"partition_assignment_strategy": [StickyPartitionAssignor]}
    async with (
        joining(kafka, group, topic, first, **sticky),
        joining(kafka, group, topic, Listener(), **sticky),
    ):
        await until(lambda: len(first.told) == 4)
    assert ("revoked", {0, 1}) == first.told[2]


def test_the_group_protocol_of_kip_848_cannot_be_chosen() -> None:
    assert "group_protocol" not in inspect.signature(AIOKafkaConsumer).parameters


async def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(
    kafka: str,
) -> None:
    group, topic = fresh("group"), await new_topic(kafka, 2)
    listener = Listener()
    async with joining(kafka, group, topic, listener, group_instance_id="stays"):
        async with joining(kafka, group, topic, Listener(), group_instance_id="goes") as member:
            await until(lambda: len(listener.told) == 4)
            before = member.assignment()
        async with joining(kafka, group, topic, Listener(), group_instance_id="goes") as member:
            assert before == member.assignment()
        assert 4 == len(listener.told)


# ------------------------------------------------------------------- 8: topics and partitions


async def test_creating_a_topic_that_exists_answers_with_an_error_code(kafka: str) -> None:
    topic = await new_topic(kafka)
    async with administering(kafka) as admin:
        answer = await admin.create_topics([NewTopic(topic, 8, 1)])
        ((name, code, _),) = answer.topic_errors
        assert (topic, TopicAlreadyExistsError.errno) == (name, code)
        (described,) = await admin.describe_topics([topic])
        assert 1 == len(described["partitions"])


def test_the_default_partitioner_divides_by_the_partitions_that_it_sees() -> None:
    partitioner, key = DefaultPartitioner(), b"foobar"
    assert [
        (murmur2(key) & 0x7FFFFFFF) % 3,
        (murmur2(key) & 0x7FFFFFFF) % 8,
    ] == [partitioner(key, list(range(seen)), list(range(seen))) for seen in (3, 8)]


JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""What Kafka's own tests say of its murmur2."""


async def test_a_key_goes_to_the_partition_that_java_clients_and_librdkafka_send_it_to(
    kafka: str,
) -> None:
    topic = await new_topic(kafka, 8)
    async with sending(kafka) as producer:
        ours = {key: (await producer.send_and_wait(topic, b"", key)).partition for key in JAVA}
    assert {key: (number & 0x7FFFFFFF) % 8 for key, number in JAVA.items()} == ours
    foreign = await asyncio.to_thread(_sent_by_librdkafka, kafka, topic, JAVA, "none")
    assert foreign == ours


def _sent_by_librdkafka(
    kafka: str, topic: str, keys: Any, compression: str, value: bytes = b""
) -> dict[bytes, int]:
    """To which partition each of the keys went."""
    went: dict[bytes, int] = {}
    settings = {"partitioner": "murmur2", "compression.type": compression}
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka, **settings})

    def delivered(error: Any, message: Any) -> None:
        assert error is None
        went[message.key()] = message.partition()

    for key in keys:
        producer.produce(topic, value, key, on_delivery=delivered)
    assert 0 == producer.flush(PATIENCE)
    return went


# ------------------------------------------------------------------------ 11: how topics are kept


async def test_how_a_topic_is_kept_can_be_read_back(kafka: str) -> None:
    kept = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
    topic = await new_topic(kafka, 1, kept)
    async with administering(kafka) as admin:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((code, _, _, name, entries),) = answer.resources
    assert (0, topic) == (code, name)
    assert kept == {entry[0]: entry[1] for entry in entries if entry[0] in kept}


# ------------------------------------------------------------------- 12: readers without a group


@asynccontextmanager
async def _four(kafka: str) -> AsyncIterator[TopicPartition]:
    """A partition with four records, 0 to 3."""
    partition = TopicPartition(await new_topic(kafka), 0)
    async with sending(kafka) as producer:
        for value in (b"0", b"1", b"2", b"3"):
            await producer.send_and_wait(partition.topic, value, partition=0)
    yield partition


async def test_a_consumer_with_assign_belongs_to_no_group(kafka: str) -> None:
    group = fresh("group")
    async with (
        _four(kafka) as partition,
        reading(kafka, partition, group_id=group) as one,
        reading(kafka, partition, group_id=group) as two,
        administering(kafka) as admin,
    ):
        assert await values(one, 4) == await values(two, 4)
        await one.commit()  # that makes the group, and nobody a member of it
        (answer,) = await admin.describe_consumer_groups([group])
        ((code, name, state, _, _, members),) = answer.groups
        assert (0, group, "Empty", []) == (code, name, state, members)


async def test_a_consumer_without_a_group_has_no_committed_offset(kafka: str) -> None:
    async with _four(kafka) as partition, reading(kafka, partition) as reader:
        with pytest.raises(IllegalOperation):
            await reader.committed(partition)


async def test_what_is_sought_wins_over_what_the_group_has_committed(kafka: str) -> None:
    group = fresh("group")
    async with _four(kafka) as partition:
        async with reading(kafka, partition, group_id=group) as reader:
            await reader.commit({partition: 3})
        async with reading(kafka, partition, group_id=group) as reader:
            assert [b"0"] == await values(reader, 1)


@asynccontextmanager
async def _beheaded(kafka: str) -> AsyncIterator[TopicPartition]:
    """A partition that had four records and has lost the first two."""
    async with _four(kafka) as partition, administering(kafka) as admin:
        await admin.delete_records({partition: RecordsToDelete(before_offset=2)})
        yield partition


async def test_what_is_sought_and_gone_is_noticed_without_a_reset_only(kafka: str) -> None:
    async with (
        _beheaded(kafka) as partition,
        reading(kafka, partition, auto_offset_reset="none") as reader,
    ):
        with pytest.raises(OffsetOutOfRangeError):
            await values(reader, 1)


@pytest.mark.parametrize(
    ("reset", "next_one"),
    [({"auto_offset_reset": "earliest"}, b"2"), ({"auto_offset_reset": "latest"}, b"new")],
)
async def test_what_is_sought_and_gone_is_skipped_in_silence_with_a_reset(
    kafka: str, reset: dict[str, str], next_one: bytes
) -> None:
    async with (
        _beheaded(kafka) as partition,
        reading(kafka, partition, **reset) as reader,
        sending(kafka) as producer,
    ):
        async with asyncio.timeout(PATIENCE):
            while await reader.position(partition) == 0:
                await asyncio.sleep(0.002)
        await producer.send_and_wait(partition.topic, b"new", partition=0)
        assert [next_one] == await values(reader, 1)


async def test_the_beginning_is_where_what_is_left_begins(kafka: str) -> None:
    async with (
        _beheaded(kafka) as partition,
        reading(kafka, partition, auto_offset_reset="none") as reader,
    ):
        await reader.seek_to_beginning(partition)
        assert [b"2"] == await values(reader, 1)


# ------------------------------------------------------------------------------- 13: compression


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
async def test_what_others_have_compressed_can_be_read(kafka: str, compression: str) -> None:
    topic, value = await new_topic(kafka), b"compressible " * 100
    await asyncio.to_thread(_sent_by_librdkafka, kafka, topic, [b"key"], compression, value)
    async with reading(kafka, TopicPartition(topic, 0)) as reader:
        assert [value] == await values(reader, 1)


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
async def test_what_the_broker_has_compressed_can_be_read(kafka: str, compression: str) -> None:
    topic, value = (
        await new_topic(kafka, 1, {"compression.type": compression}),
        b"compressible " * 100,
    )
    async with sending(kafka) as producer, reading(kafka, TopicPartition(topic, 0)) as reader:
        await producer.send_and_wait(topic, value, partition=0)
        assert [value] == await values(reader, 1)


@pytest.mark.parametrize("compression", ["lz4", "snappy", "zstd"])
async def test_what_is_compressed_cannot_be_read_without_the_extras(
    kafka: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await new_topic(kafka)
    async with (
        sending(kafka, compression_type=compression) as producer,
        reading(kafka, TopicPartition(topic, 0)) as reader,
    ):
        await producer.send_and_wait(topic, b"compressible " * 100, partition=0)
        monkeypatch.setattr(aiokafka.codec, "cramjam", None)
        with pytest.raises(UnsupportedCodecError):
            await values(reader, 1)
