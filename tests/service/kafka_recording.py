"""Writers of a log in Kafka, in threads and processes, and what another library finds there."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, TopicPartition
from eventsourcing.persistence import StoredEvent, Subscription, Tracking

from adapters.kafka.connection import Address
from adapters.kafka.recorder import in_the_words_of_the_library
from adapters.kafka.stored import TRACKED, open_stored
from adapters.kafka.topics import prepare
from adapters.recorders import LogProcessRecorder, StoreBridge
from tests.contract.places_kafka import KafkaPlace
from tests.contract.recording import settings

PATIENCE = 30.0
"""Seconds for what must happen."""


# ------------------------------------------------------------------------------ another library


class Found(NamedTuple):
    """A committed record, as its reader without our code understands it."""

    key: str
    value: dict[str, Any]
    headers: dict[str, str | bytes | None]

    @property
    def event(self) -> tuple[str, int, int]:
        """Stream, version and sequence."""
        return self.value["subject"], self.value["version"], self.value["sequence"]


async def found(address: Address, count: int, topic: str = "events") -> list[Found]:
    """All that is committed behind the genesis; as soon as there are *count*, or more."""
    return await asyncio.to_thread(_found, address, count, topic)


def _found(address: Address, count: int, topic: str) -> list[Found]:
    messages: list[Found] = []
    consumer = Consumer(
        {
            "bootstrap.servers": address.servers,
            "group.id": uuid4().hex,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        consumer.assign([TopicPartition(address.topic(topic), 0, 0)])
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                if len(messages) >= count:
                    return messages
                continue
            value = json.loads(message.value() or b"")
            if value.get("type") != "turnstile.genesis":
                key, headers = message.key() or b"", dict(message.headers() or {})
                messages.append(Found(key.decode(), value, headers))
        raise AssertionError(f"there are only {len(messages)}")
    finally:
        consumer.close()


# -------------------------------------------------------------------------- behind the proxy


def through(place: KafkaPlace) -> Address:
    """The place's log, with the proxy for its cluster."""
    return Address(place.proxy.servers, place.address.topics)


@asynccontextmanager
async def behind(place: KafkaPlace, patience: float = 10.0) -> AsyncIterator[LogProcessRecorder]:
    """A recorder whose cluster is the proxy, to be used in threads: the proxy needs the loop.

    A transaction that takes longer than *patience* seconds has failed.
    """
    address = through(place)
    bridge = await asyncio.to_thread(
        lambda: StoreBridge(open_stored(address, patience=patience), in_the_words_of_the_library)
    )
    try:
        preparing = prepare(address, 1, wanted=TRACKED)
        bridge.resource.partitions = len(await asyncio.to_thread(bridge.run, preparing))
        bridge.resource.home = 0
        yield LogProcessRecorder(bridge)
    finally:
        await asyncio.to_thread(bridge.close)


@asynccontextmanager
async def subscribed(recording: LogProcessRecorder) -> AsyncIterator[Subscription[Any]]:
    """A subscription, which is ended in a thread too: that waits for what it is reading."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(recording.subscribe())
        finally:
            await asyncio.to_thread(stack.close)


async def insert(
    recording: LogProcessRecorder, *events: StoredEvent, tracking: Tracking | None = None
) -> Sequence[int]:
    """The events' sequences; the writing is done in a thread."""
    written = await asyncio.to_thread(recording.insert_events, events, tracking=tracking)
    assert written is not None
    return written


# --------------------------------------------------------------------------- another process

PROGRAM = """
import sys
import structlog
from eventsourcing.application import Application
from eventsourcing.persistence import PersistenceError, StoredEvent

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
application = Application(dict(line.split("=", 1) for line in sys.argv[1:]))
print("ready", flush=True)
for line in sys.stdin:
    stream, version = line.split()
    try:
        [sequence] = application.recorder.insert_events(
            [StoredEvent(stream, int(version), "topic", line.encode())]
        )
    except PersistenceError as error:
        print(type(error).__name__, flush=True)
    else:
        print(sequence, flush=True)
"""


class Writing:
    """A process that writes what it is told, one event after the other."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def ask(self, stream: str, version: int) -> None:
        """Tell it to write."""
        assert self.process.stdin
        self.process.stdin.write(f"{stream} {version}\n".encode())
        await self.process.stdin.drain()

    async def answer(self) -> str:
        """The event's sequence, or the error's name."""
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().strip()

    async def write(self, stream: str, version: int) -> str:
        """Tell it, and wait for the answer."""
        await self.ask(stream, version)
        return await self.answer()


@asynccontextmanager
async def writing(address: Address) -> AsyncIterator[Writing]:
    """A writer on the log, as soon as it works; killed at the end."""
    arguments = [f"{name}={value}" for name, value in settings(address).items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments, stdin=PIPE, stdout=PIPE
    )
    try:
        writer = Writing(process)
        assert "ready" == await writer.answer()
        yield writer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
