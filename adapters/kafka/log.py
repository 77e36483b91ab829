"""The log in Kafka's topics, through aiokafka."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog
from aiokafka import TopicPartition

from adapters.codec import DATA_LIMIT, Codec
from adapters.kafka import records
from adapters.kafka.connection import FAILURES, Address, running, translated
from adapters.kafka.membership import KafkaMembership, joined
from adapters.kafka.plain import Plain, plain
from adapters.kafka.reading import Events, last_event
from adapters.kafka.standing import standings
from adapters.kafka.topics import prepare
from adapters.log import Genesis, Standing, Unavailable
from domain.envelope import Answer, Recorded, Submitted, check, partition_of
from domain.errors import TooLarge

log = structlog.get_logger()


@asynccontextmanager
async def open_log(
    address: Address,
    codec: Codec,
    *,
    partitions: int | None = None,
    replication: int | None = None,
    lease: float = 6.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator["KafkaLog"]:
    """The log at an address, whose topics are made if they are not there.

    An engine that is not heard of for *lease* seconds loses its partitions. Without a number of
    *partitions* the log keeps the one it has, a new one gets 8.
    """
    genesis = await prepare(address, partitions, replication)
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(plain(address))
        admin = await stack.enter_async_context(running(address.admin()))
        yield KafkaLog(address, codec, producer, admin, genesis, lease, clock)


class KafkaLog:
    """Partitions as topics' partitions; see `topics.py`."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        producer: Plain,
        admin: Any,
        genesis: Sequence[Genesis],
        lease: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.partitions = len(genesis)
        self._address = address
        self._codec = codec
        self._producer = producer
        self._admin = admin
        self._genesis = genesis
        self._lease = lease
        self._clock = clock

    async def send(self, commands: Sequence[Submitted]) -> None:
        """Put commands into the inbox of their streams' partitions, in order for each."""
        batches: dict[int, list[tuple[bytes, bytes]]] = {}
        for command in commands:
            check(command)
            data = self._codec.encode_command(command.command)
            if len(data) > DATA_LIMIT:
                raise TooLarge(field="command", size=len(data), limit=DATA_LIMIT)
            partition = partition_of(command.stream, self.partitions)
            record = command.stream.encode(), records.command(command, data)
            batches.setdefault(partition, []).append(record)
        producer = self._producer.current
        try:
            with translated():
                # Side by side: a partition whose leader is away must not hold the others up.
                await asyncio.gather(
                    *(self._send_to(producer, n, waiting) for n, waiting in batches.items())
                )
        except Unavailable:
            self._producer.failed(producer)
            raise

    async def _send_to(
        self, producer: Any, partition: int, waiting: Sequence[tuple[bytes, bytes]]
    ) -> None:
        sent = [
            await producer.send_batch(batch, self._address.topic("commands"), partition=partition)
            for batch in records.batches(producer, waiting)
        ]
        await asyncio.gather(*sent)

    @asynccontextmanager
    async def replies(self) -> AsyncIterator["KafkaReplies"]:
        """An address for answers, as long as the context lasts."""
        async with running(self._address.consumer()) as consumer:
            name = uuid4()
            partition = TopicPartition(self._address.topic("replies"), name.int % self.partitions)
            with translated():
                consumer.assign([partition])
                await consumer.seek_to_end()
            yield KafkaReplies(consumer, f"{partition.partition}.{name.hex}")

    async def follow(
        self, partition: int, after: int = 0, *, stored: bool = False
    ) -> AsyncGenerator[Sequence[Recorded], None]:
        """The committed events behind sequence *after*, in order, for ever."""
        topic = self._topic("events", partition)
        async with running(self._address.consumer()) as consumer:
            events = Events(consumer, topic, self._codec, after, stored=stored)
            await events.begin()
            while True:
                if page := await events.next():
                    yield page

    async def end(self, partition: int) -> int:
        """The sequence of the last committed event, 0 if there is none."""
        async with running(self._address.glance()) as consumer:
            with translated():
                last = await last_event(consumer, self._topic("events", partition))
        return 0 if last is None else last.sequence

    async def inbox_end(self, partition: int) -> int:
        """The position of the last command that came in, 0 if there is none."""
        async with running(self._address.glance()) as consumer:
            commands = self._topic("commands", partition)
            with translated():
                ends = await consumer.end_offsets([commands])
        return int(ends[commands])

    def _topic(self, name: str, partition: int) -> TopicPartition:
        return TopicPartition(self._address.topic(name), partition)

    async def standings(self) -> Sequence[Standing]:
        """How far every partition is, and who has it, as the group says; not for how long."""
        async with running(self._address.glance()) as consumer:
            return await standings(self._address, self._admin, consumer, self.partitions)

    async def genesis(self, partition: int) -> Genesis:
        """What the partition says of itself."""
        return self._genesis[partition]

    def join(self, name: str) -> AbstractAsyncContextManager[KafkaMembership]:
        """Be one of the engines of this log."""
        return joined(
            KafkaMembership(
                self._address,
                self._codec,
                self._genesis,
                self._producer,
                self._admin,
                name,
                self._lease,
                self._clock,
            )
        )


class KafkaReplies:
    """Answers for one asker, in a partition that it may share with others."""

    def __init__(self, consumer: Any, address: str) -> None:
        self.address = address
        self._consumer = consumer
        self._key = address.encode()

    async def receive(self) -> Sequence[Answer]:
        """Wait for the next answers."""
        while True:
            with translated():
                try:
                    found = await self._consumer.getmany(timeout_ms=1_000)
                except FAILURES:
                    raise
                except Exception as error:  # aiokafka cannot read a record
                    log.warning("replies_unreadable", error=repr(error))
                    await self._consumer.seek_to_end()  # what is lost is asked for again
                    continue
            answers = [
                answer
                for page in found.values()
                for record in page
                if record.key == self._key
                for answer in records.answers(record.value)
            ]
            if answers:
                return answers
