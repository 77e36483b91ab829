"""A log of its own in the session's Kafka, behind a proxy that can hold what passes it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from msgspec import Raw

from adapters import cloudevents
from adapters.cloudevents import SOURCE, CloudEvent
from adapters.codec import Codec
from adapters.kafka.connection import Address, running
from adapters.kafka.log import open_log
from adapters.kafka.owner import producer
from adapters.kafka.reading import last_event
from adapters.kafka.records import CommandRecord
from adapters.kafka.topics import TOPICS
from adapters.log import Log, Owner
from tests.contract.counter import CODEC
from tests.contract.places import LEASE
from tests.kafka_proxy import Api, Proxy, Request, commits


class KafkaPlace:
    """Topics of its own. Logs are opened through the proxy; what is done to them is not."""

    def __init__(self, servers: str, proxy: Proxy) -> None:
        topics = f"t_{uuid4().hex[:12]}"
        self.proxy = proxy
        self.address = Address(servers, topics)
        self._proxied = Address(proxy.servers, topics)

    def open(
        self,
        partitions: int | None = None,
        *,
        codec: Codec = CODEC,
        clock_ahead: timedelta = timedelta(),
    ) -> AbstractAsyncContextManager[Log]:
        return open_log(
            self._proxied,
            codec,
            partitions=partitions,
            lease=LEASE,
            clock=lambda: datetime.now(UTC) + clock_ahead,
        )

    @asynccontextmanager
    async def stalled_before_commit(self) -> AsyncIterator[None]:
        held: list[Request] = []

        def is_first(request: Request) -> bool:  # who takes over has a transaction of its own
            held.append(request)
            return len(held) == 1

        with self.proxy.holding(Api.ADD_PARTITIONS_TO_TXN, when=is_first):
            yield

    @asynccontextmanager
    async def stalled_inside_commit(self, partition: int, sequence: int) -> AsyncIterator[None]:
        with self.proxy.holding(Api.END_TXN, when=commits):
            yield

    async def commit_before_take(
        self, commit: Callable[[], Awaitable[None]], take: Callable[[], Awaitable[Owner]]
    ) -> Owner:
        with self.proxy.holding(Api.INIT_PRODUCER_ID) as fencing:
            with self.proxy.holding(Api.END_TXN, when=commits) as ending:
                committing = asyncio.ensure_future(commit())
                await ending.arrived()
                taking = asyncio.ensure_future(take())
                await fencing.arrived()
            await committing
        return await taking

    async def fence(self, partition: int) -> None:
        async with running(producer(self.address, partition)):
            pass

    async def put_command(self, partition: int, **fields: Any) -> None:
        given: dict[str, Any] = {
            "id": uuid4(),
            "stream": "counter/1",
            "topic": "test.count",
            "schema": 1,
            "actor": "a test",
            "reply_to": None,
            "data": b"{}",
        } | fields
        record = CommandRecord(
            specversion="1.0",
            id=given["id"],
            source=SOURCE,
            type=given["topic"],
            subject=given["stream"],
            actor=given["actor"],
            schemaversion=given["schema"],
            replyto=given["reply_to"],
            data=Raw(given["data"]),
        )
        await self._put("commands", partition, given["stream"], msgspec.json.encode(record))

    async def put_event(self, partition: int, topic: str, form: int) -> None:
        async with running(self.address.glance()) as consumer:
            last = await last_event(consumer, self._topic("events", partition))
        envelope = CloudEvent(
            specversion="1.0",
            id=uuid4(),
            source=SOURCE,
            type=topic,
            subject=f"counter/new-{uuid4().hex}",
            time=datetime.now(UTC),
            version=1,
            causationid=uuid4(),
            actor="a test",
            schemaversion=form,
            sequence=last.sequence + 1 if last else 1,
        )
        record = cloudevents.compose(envelope, b"{}", plain=True)
        await self._put("events", partition, envelope.subject, record)

    async def lose_event(self, partition: int, sequence: int) -> None:
        """Make the topic anew with all it had but the one."""
        topic = self._topic("events", partition)
        records = await self.records(topic)
        async with running(self.address.admin()) as admin:
            partitions = len((await admin.describe_topics([topic.topic]))[0]["partitions"])
            await admin.delete_topics([topic.topic])
            while topic.topic in await admin.list_topics():
                await asyncio.sleep(0.02)
            new = NewTopic(topic.topic, partitions, 1, topic_configs=dict(TOPICS["events"]))
            while (await admin.create_topics([new])).topic_errors[0][1]:
                await asyncio.sleep(0.02)
        for record in records:
            if cloudevents.parse(record.value).sequence != sequence:
                await self._put("events", partition, record.key or "", record.value)

    async def dead_letters(self) -> list[tuple[int, str]]:
        found = []
        async with running(self.address.admin()) as admin:
            described = await admin.describe_topics([self.address.topic("dead")])
        for partition in range(len(described[0]["partitions"])):
            for record in await self.records(self._topic("dead", partition)):
                headers = dict(record.headers)
                if "reason" in headers:  # else it says what became of another one
                    found.append((int(headers["partition"]), headers["reason"].decode()))
        return found

    def _topic(self, name: str, partition: int) -> TopicPartition:
        return TopicPartition(self.address.topic(name), partition)

    async def _put(self, name: str, partition: int, key: str | bytes, value: bytes) -> None:
        key = key if isinstance(key, bytes) else key.encode()
        async with running(self.address.producer()) as plain:
            await plain.send_and_wait(self.address.topic(name), value, key, partition)

    async def records(self, topic: TopicPartition) -> list[Any]:
        """All committed ones."""
        async with running(self.address.glance()) as consumer:
            consumer.assign([topic])
            end = (await consumer.end_offsets([topic]))[topic]
            consumer.seek(topic, 0)
            records: list[Any] = []
            while await consumer.position(topic) < end:
                records += (await consumer.getmany(topic, timeout_ms=100)).get(topic, [])
        return records
