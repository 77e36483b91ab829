"""Clients of the real Kafka, closed whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

PATIENCE = 10.0
"""Seconds to wait for what must come. What takes longer has not come."""


def fresh(kind: str) -> str:
    """A name that nobody has."""
    return f"{kind}-{uuid4().hex[:12]}"


@asynccontextmanager
async def _running(client: Any) -> AsyncIterator[Any]:
    try:
        await client.start()
        # A consumer without a group whose tasks have not begun raises CancelledError in stop().
        await asyncio.sleep(0)
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def administering(kafka: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def sending(kafka: str, **options: Any) -> AsyncIterator[Any]:
    """A producer: of transactions if there is a *transactional_id*."""
    options = {"retry_backoff_ms": 5, **options}
    async with _running(AIOKafkaProducer(bootstrap_servers=kafka, **options)) as producer:
        yield producer


@asynccontextmanager
async def reading(kafka: str, *partitions: TopicPartition, **options: Any) -> AsyncIterator[Any]:
    """A consumer of what is committed in *partitions*, from their beginnings."""
    options = {"isolation_level": "read_committed", "enable_auto_commit": False, **options}
    async with _running(AIOKafkaConsumer(bootstrap_servers=kafka, **options)) as consumer:
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        yield consumer


@asynccontextmanager
async def joining(
    kafka: str, group: str, topic: str, listener: "Listener", **options: Any
) -> AsyncIterator[Any]:
    """A member of a group, as soon as it has partitions: start() waits for that."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=20,
        retry_backoff_ms=5,
        **options,
    )
    consumer.subscribe([topic], listener=listener)
    async with _running(consumer):
        yield consumer


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # it has no types
    """Notes what it is told of, by partition, and holds a revocation up while it is told to."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[tuple[str, set[int]]] = []
        self.free = asyncio.Event()
        self.free.set()
        self._fails = fails

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._note("revoked", revoked)
        await self.free.wait()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._note("assigned", assigned)

    def _note(self, what: str, partitions: set[TopicPartition]) -> None:
        self.told.append((what, {one.partition for one in partitions}))
        if self._fails:
            raise RuntimeError(what)


async def new_topic(
    kafka: str, partitions: int = 1, configs: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A topic of its own, when all its partitions are listed: at first it may be a few."""
    name = fresh("topic")
    asked = NewTopic(name, partitions, 1, topic_configs=dict(configs))
    async with administering(kafka) as admin, asyncio.timeout(PATIENCE):
        assert [(name, 0, None)] == (await admin.create_topics([asked])).topic_errors
        while len((await admin.describe_topics([name]))[0]["partitions"]) != partitions:
            await asyncio.sleep(0.002)
    return name


async def values(consumer: Any, count: int) -> list[bytes]:
    """The next *count* records."""
    async with asyncio.timeout(PATIENCE):
        return [(await consumer.getone()).value for _ in range(count)]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another task does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)
