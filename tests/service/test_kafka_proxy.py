"""What the tests' own proxy does to the traffic with a real Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, ProducerFenced
from aiokafka.structs import TopicPartition
from confluent_kafka import Consumer, Producer

from tests.kafka_proxy import Api, NotUnderstood, Proxy, proxied

pytestmark = pytest.mark.service


@pytest.fixture
async def proxy(kafka: str) -> AsyncIterator[Proxy]:
    async with proxied(kafka) as proxy:
        yield proxy


@pytest.fixture
async def topic(kafka: str) -> str:
    """A topic of its own, with one partition."""
    name = f"t-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()
    return name


@asynccontextmanager
async def producing(proxy: Proxy, topic: str, client_id: str = "a") -> AsyncIterator[Any]:
    """A producer for transactions that are named after the topic."""
    async with AIOKafkaProducer(
        bootstrap_servers=proxy.servers, client_id=client_id, transactional_id=topic
    ) as producer:
        yield producer


def reading(servers: str, topic: str, isolation: str = "read_committed") -> Any:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        isolation_level=isolation,
    )


async def test_a_transaction_reaches_a_reader_through_the_proxy(proxy: Proxy, topic: str) -> None:
    async with producing(proxy, topic) as producer, reading(proxy.servers, topic) as reader:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"event")
        assert b"event" == (await reader.getone()).value
        brokers = reader._client.cluster.brokers()
        assert [proxy.servers] == [f"{broker.host}:{broker.port}" for broker in brokers]


async def test_librdkafka_stays_behind_the_proxy(proxy: Proxy, topic: str) -> None:
    def roundtrip() -> tuple[list[str], bytes | None]:
        producer = Producer({"bootstrap.servers": proxy.servers, "transactional.id": topic})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(topic, b"event")
        producer.commit_transaction(30)
        brokers = producer.list_topics(timeout=30).brokers.values()
        reader = Consumer(
            {
                "bootstrap.servers": proxy.servers,
                "group.id": topic,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        reader.subscribe([topic])
        message = reader.poll(30)
        reader.close()
        value = message.value() if message else None
        return [f"{broker.host}:{broker.port}" for broker in brokers], value

    assert ([proxy.servers], b"event") == await asyncio.to_thread(roundtrip)


async def test_a_held_end_keeps_a_transaction_open(proxy: Proxy, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    async with (
        producing(proxy, topic) as producer,
        reading(proxy.servers, topic) as reader,
        reading(proxy.servers, topic, "read_uncommitted") as early_reader,
    ):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"event")
        with proxy.holding(Api.END_TXN, when=lambda end: topic.encode() in end.body) as held:
            committing = asyncio.create_task(producer.commit_transaction())
            await held.arrived()
            assert b"event" == (await early_reader.getone()).value
            assert {partition: 0} == await reader.end_offsets([partition])
            assert not committing.done()
        await committing
        assert b"event" == (await reader.getone()).value
        assert 1 == held.count


async def test_a_producer_whose_end_is_held_is_fenced_by_its_successor(
    proxy: Proxy, topic: str
) -> None:
    async with (
        producing(proxy, topic, "first") as first,
        reading(proxy.servers, topic) as reader,
    ):
        await first.begin_transaction()
        await first.send_and_wait(topic, b"late")
        with proxy.holding(Api.END_TXN, when=lambda end: end.client_id == "first") as held:
            committing = asyncio.create_task(first.commit_transaction())
            await held.arrived()
            async with producing(proxy, topic, "second") as second, second.transaction():
                await second.send_and_wait(topic, b"event")
            assert not committing.done()
        with pytest.raises(ProducerFenced):
            await committing
        assert b"event" == (await reader.getone()).value


async def test_a_held_request_goes_on_without_its_client(
    kafka: str, proxy: Proxy, topic: str
) -> None:
    producer = Producer({"bootstrap.servers": proxy.servers})
    with proxy.holding(Api.PRODUCE) as held:
        producer.produce(topic, b"event")
        await held.arrived()
        producer.purge()
        del producer
    async with reading(kafka, topic) as reader:
        assert b"event" == (await reader.getone()).value


async def test_a_lost_response_leaves_the_client_to_ask_again(proxy: Proxy, topic: str) -> None:
    async with producing(proxy, topic) as producer, reading(proxy.servers, topic) as reader:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"event")
        with proxy.losing_responses(Api.END_TXN) as lost:
            committing = asyncio.create_task(producer.commit_transaction())
            await lost.arrived()
            assert b"event" == (await reader.getone()).value
            assert not committing.done()
        await committing


async def test_a_lost_request_does_nothing(kafka: str, proxy: Proxy, topic: str) -> None:
    partition = TopicPartition(topic, 0)
    async with (
        AIOKafkaProducer(bootstrap_servers=proxy.servers) as producer,
        reading(kafka, topic) as reader,
    ):
        with proxy.losing(Api.PRODUCE) as lost:
            sent = await producer.send(topic, b"event")
            await lost.arrived(2)
            assert {partition: 0} == await reader.end_offsets([partition])
            assert not sent.done()
        await sent
        assert b"event" == (await reader.getone()).value


async def test_cut_clients_come_back(proxy: Proxy, topic: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=proxy.servers) as producer:
        await producer.send_and_wait(topic, b"first")
        proxy.cut()
        await producer.send_and_wait(topic, b"second")


async def test_what_leads_past_the_proxy_fails_the_test(kafka: str) -> None:
    async def ask_as_a_newer_client() -> bytes:
        async with proxied(kafka) as proxy:
            host, _, port = proxy.servers.partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            request = pack(">hhih", Api.METADATA, 6, 1, -1)
            writer.write(pack(">i", len(request)) + request)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    with pytest.raises(NotUnderstood):
        await ask_as_a_newer_client()


async def test_a_broker_that_is_not_there_refuses_the_client() -> None:
    async with proxied("127.0.0.1:1") as proxy:
        producer = AIOKafkaProducer(bootstrap_servers=proxy.servers)
        with pytest.raises(KafkaConnectionError):
            await producer.start()
        await producer.stop()
