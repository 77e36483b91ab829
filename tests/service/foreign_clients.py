"""Producers and consumers of another library, librdkafka, as whoever does not know us has them.

Its functions block, so they run in threads.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)

PATIENCE = 30.0


Headers = list[tuple[str, str | bytes | None]]


class Sent(NamedTuple):
    """A record to send; without a partition, the key chooses one as Java clients do."""

    topic: str
    value: bytes | None
    headers: Headers | None = None
    key: bytes | None = None
    partition: int = -1


def structured(event: Mapping[str, Any], topic: str, **more: Any) -> Sent:
    """A CloudEvent as one JSON object."""
    header = ("content-type", b"application/cloudevents+json; charset=UTF-8")
    key = str(event["subject"]).encode()
    return Sent(topic, json.dumps(event).encode(), [header], key)._replace(**more)


def binary(event: Mapping[str, Any], topic: str, **more: Any) -> Sent:
    """A CloudEvent as headers and data."""
    headers: Headers = [
        (f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data"
    ]
    headers.append(("content-type", b"application/json"))
    key = str(event["subject"]).encode()
    return Sent(topic, json.dumps(event["data"]).encode(), headers, key)._replace(**more)


async def send(servers: str, records: Iterable[Sent], **settings: Any) -> None:
    """Send them durably, in order for each partition."""
    await asyncio.to_thread(_send, servers, list(records), settings)


def _send(servers: str, records: list[Sent], settings: dict[str, Any]) -> None:
    refused: list[KafkaError] = []
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
    )
    for record in records:
        producer.produce(
            record.topic,
            value=record.value,
            key=record.key,
            headers=record.headers,
            partition=record.partition,
            on_delivery=lambda error, _: refused.append(error) if error else None,
        )
        producer.poll(0)
    assert 0 == producer.flush(PATIENCE)
    assert [] == refused


def headers(message: Message) -> list[tuple[str, bytes | None]]:
    """The headers of what was read."""
    found: Any = message.headers()
    return list(found or [])


async def read(servers: str, topic: str) -> list[Message]:
    """Everything that is committed in a topic now, in order for each partition."""
    return await asyncio.to_thread(_read, servers, topic)


def _read(servers: str, topic: str) -> list[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": uuid4().hex,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: list[Message] = []
        ended: set[int | None] = set()
        deadline = monotonic() + PATIENCE
        while len(ended) < len(partitions):
            assert monotonic() < deadline
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
        return found
    finally:
        consumer.close()
