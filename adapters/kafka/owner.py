"""The right to append to one partition: its transactional id, which a successor takes away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.producer import sender
from aiokafka.structs import OffsetAndMetadata

from adapters import cloudevents
from adapters.codec import Codec
from adapters.kafka import records
from adapters.kafka.connection import FAILURES, RETRY, Address, ended, meaning, running, translated
from adapters.kafka.kept import Unreadable
from adapters.kafka.plain import Plain
from adapters.kafka.reading import Events
from adapters.log import (
    Decided,
    Encoded,
    Fenced,
    Gap,
    Genesis,
    LogError,
    Received,
    Reply,
    WrongLog,
)
from domain.envelope import Recorded

# aiokafka waits so many seconds where the transaction before has not quite ended. It takes one or
# two milliseconds for that; with the library's twenty, transactions would take 25 ms each.
sender.BACKOFF_OVERRIDE = 0.001

TIMEOUT: Final = 10.0
"""Seconds after which the broker ends a transaction that was abandoned; it holds back readers."""

LAG: Final = 1.0
"""Seconds between two looks of the group's offset into the log, for people who watch its lag."""

log = structlog.get_logger()


def producer(address: Address, partition: int) -> Any:
    """The partition's transactional producer; its start fences every earlier one."""
    return address.producer(
        enable_idempotence=True,
        transactional_id=address.transactional_id(partition),
        transaction_timeout_ms=int(TIMEOUT * 1e3),
        retry_backoff_ms=RETRY,
    )


class KafkaOwner:
    """Owns a partition through a producer of its own, until another one starts."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        producer: Any,
        consumer: Any,
        replies: "Replier",
        genesis: Genesis,
        partition: int,
        committed: OffsetAndMetadata,
        fenced: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.genesis = genesis
        self._address = address
        self._codec = codec
        self._producer = producer
        self._consumer = consumer
        self._replies = replies
        self._committed = committed
        self._fenced = fenced
        self._commands = TopicPartition(address.topic("commands"), partition)
        self._events = TopicPartition(address.topic("events"), partition)
        # An offset without such a note is none of ours: somebody else was in the group.
        self._decided = committed.offset if _noted(committed) is not None else 0
        self._sequence = 0
        self._told = monotonic()
        self._careful = False
        self._over: LogError | None = None

    async def history(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        """All events behind sequence *after* that were committed before the fence."""
        async with running(self._address.glance()) as consumer:
            events = Events(consumer, self._events, self._codec, after)
            end = await events.begin()
            async for page in events.until(end):
                yield page
        self._sequence = events.after
        known = _noted(self._committed) or 0
        if known > self._sequence:
            raise Gap(
                f"partition {self.partition} ends with {self._sequence}, "
                f"and its owner before knew of {known}"
            )

    async def resume(self, upto: int) -> int:
        """Begin to receive behind the last decided position, *upto* at the least."""
        position: int = max(self._decided, upto)
        self._decided = position
        with translated():
            self._consumer.assign([self._commands])
            starts = await self._consumer.beginning_offsets([self._commands])
            ends = await self._consumer.end_offsets([self._commands])
            if ends[self._commands] < position:
                raise WrongLog(
                    f"partition {self.partition} has decided {position} commands, and "
                    f"{self._commands.topic!r} has {ends[self._commands]}: was it made anew?"
                )
            if starts[self._commands] > position:
                log.error(
                    "commands_expired",
                    partition=self.partition,
                    first_lost=position + 1,
                    first_there=starts[self._commands] + 1,
                )
            self._consumer.seek(self._commands, max(position, starts[self._commands]))
        return position

    async def receive(self, limit: int, timeout: float) -> Sequence[Received]:
        """The next commands in order; none if none came within *timeout* seconds."""
        with translated():
            try:
                found = await self._consumer.getmany(
                    self._commands,
                    timeout_ms=int(timeout * 1e3),
                    max_records=1 if self._careful else limit,
                )
            except FAILURES:
                raise
            except Exception as error:  # aiokafka cannot read a record
                return await self._unreadable(error)
        return [records.received(record, self._codec) for record in found.get(self._commands, ())]

    async def _unreadable(self, error: Exception) -> Sequence[Received]:
        """Find the record that is at fault, by going on one by one; then pass it by."""
        if not self._careful:
            self._careful = True
            return []
        offset = await self._consumer.position(self._commands)
        self._consumer.seek(self._commands, offset + 1)
        self._careful = False
        raw = Unreadable(self._commands.topic, self.partition, offset)
        problem = f"it is unreadable, {error!r}"
        return [Received(offset + 1, datetime.now(UTC), None, problem, raw=raw)]

    async def commit(self, decided: Decided) -> None:
        """One transaction of events, dead letters and, now and then, the group's offset.

        Every event says up to where its batch has decided, so the offset is needed only for a
        batch without events; two round trips less for every other.
        """
        if self._over is not None:
            raise self._over
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._transact(decided, sent)
        except FAILURES as error:
            failures = [one.exception() for one in sent if one.done() and not one.cancelled()]
            self._over = meaning([error, *(one for one in failures if one is not None)])
            if isinstance(self._over, Fenced):
                self._fenced()
            raise self._over from error
        if decided.events:
            self._sequence = decided.events[-1].recorded.sequence
        self._decided = decided.upto
        await self._replies.send(decided.replies)

    async def _transact(self, decided: Decided, sent: list["asyncio.Future[Any]"]) -> None:
        producer, number = self._producer, self.partition
        await producer.begin_transaction()
        for batch in records.batches(producer, self._keyed(decided.events)):
            sending = await producer.send_batch(batch, self._events.topic, partition=number)
            sent.append(sending)
        for letter in decided.dead:
            key, value, headers = records.dead(letter, number)
            dead = self._address.topic("dead")
            sent.append(await producer.send(dead, value, key, number, headers=headers))
        # A transaction is committed although a send in it has failed: so all are awaited first.
        await asyncio.gather(*sent)
        now = monotonic()
        if not decided.events or now - self._told > LAG:
            self._told = now
            last = decided.events[-1].recorded.sequence if decided.events else self._sequence
            await producer.send_offsets_to_transaction(
                {self._commands: OffsetAndMetadata(decided.upto, f"sequence={last}")},
                self._address.group,
            )
        await producer.commit_transaction()

    def _keyed(self, events: Sequence[Encoded]) -> Iterator[tuple[bytes, bytes]]:
        plain = self._codec.is_plain
        for one in events:
            key = one.recorded.originator_id.encode()
            yield key, cloudevents.write(one.recorded, one.data, plain=plain)

    async def release(self) -> None:
        """Give the partition back, and leave a note of how far it got."""
        if self._over is None and self._sequence > (_noted(self._committed) or 0):
            with suppress(LogError):
                await self.commit(Decided(upto=self._decided))
        await ended(self._producer)
        await ended(self._consumer)


def _noted(committed: OffsetAndMetadata) -> int | None:
    """The last sequence that an owner has noted beside the group's offset, if one did."""
    name, _, number = (committed.metadata or "").partition("=")
    return int(number) if name == "sequence" and number.isdecimal() else None


class Replier:
    """Sends answers to their askers behind the commit. One that is lost is asked for again."""

    def __init__(self, address: Address, plain: Plain, partitions: int) -> None:
        self._topic = address.topic("replies")
        self._plain = plain
        self._partitions = partitions

    async def send(self, replies: Sequence[Reply]) -> None:
        """Put them on their way."""
        for partition, key, value in records.replies(replies, self._partitions):
            producer = self._plain.current
            try:
                sending = await producer.send(self._topic, value, key, partition)
            except FAILURES as error:
                self._lost(producer, error)
                return
            sending.add_done_callback(partial(self._taken_note_of, producer))

    def _taken_note_of(self, producer: Any, sending: "asyncio.Future[Any]") -> None:
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self._lost(producer, error)

    def _lost(self, producer: Any, error: BaseException) -> None:
        log.warning("replies_lost", error=str(error))
        self._plain.failed(producer)
