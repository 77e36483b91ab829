"""Dead letters of the log in Kafka: records of its dead topic, found through an index.

That a letter is settled is a record too, behind it in its partition; the first one counts. So the
index is a cache, and all processes agree whatever they read it with.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from aiokafka import TopicPartition

from adapters.codec import Codec
from adapters.dead import (
    SHOWN,
    Content,
    Header,
    How,
    Letter,
    LetterFilter,
    NoSuchLetter,
    Shown,
    not_injectable,
    place_of,
    send_again,
    unsettled,
)
from adapters.kafka import records
from adapters.kafka.connection import FAILURES, Address, running, translated
from adapters.kafka.dead_reading import read_in
from adapters.kafka.dead_records import DeadRecord, settles
from adapters.kafka.reading import first_behind
from adapters.kafka.topics import TOPICS
from adapters.log import Log
from adapters.postgres.connection import Address as PostgresAddress
from adapters.postgres.letter_index import LetterIndex, open_index
from projections.queries import Page

log = structlog.get_logger()


@asynccontextmanager
async def open_dead(
    address: Address, index: PostgresAddress, log: Log, codec: Codec
) -> AsyncIterator["KafkaDeadLetters"]:
    """The dead letters of the log at an address, which is open, with their index elsewhere."""
    genesis = [await log.genesis(n) for n in range(log.partitions)]
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_index(index, genesis))
        producer = await stack.enter_async_context(running(address.producer()))
        yield KafkaDeadLetters(address, producer, opened, log, codec)


class KafkaDeadLetters:
    """Letters as records; the place of one is its offset."""

    def __init__(
        self, address: Address, producer: Any, index: LetterIndex, log: Log, codec: Codec
    ) -> None:
        self._address = address
        self._producer = producer
        self._index = index
        self._log = log
        self._codec = codec
        self._reading = asyncio.Lock()

    async def page(self, asked: LetterFilter) -> Page[Letter]:
        """Letters, newest first."""
        await self._read()
        return await self._index.page(asked)

    async def show(self, id_: str) -> Shown:
        """The letter and what it holds."""
        letter = await self._find(id_)
        if letter is None:
            raise NoSuchLetter(letter=id_)
        record = await self._record(id_)
        if record is None:
            return Shown(letter, Content(cut=True))
        return Shown(letter, Content.of(record.value, cut=record.is_cut), _headers(record))

    async def inject(self, id_: str, actor: str) -> Letter:
        """Send it again: a command with its id, a request to its topic as it came."""
        unsettled(id_, await self._find(id_))
        record = await self._record(id_)
        if record is None:
            raise not_injectable(id_, "it cannot be read")
        if record.is_cut:
            raise not_injectable(id_, "only a part of it was kept")
        if record.kind == "request":
            await self._request(id_, record)
        else:
            await self._command(id_, record)
        return await self._settled(id_, "injected", actor, None)

    async def _command(self, id_: str, record: DeadRecord) -> None:
        try:
            submitted = records.submitted(record.value, self._codec)
        except records.UNFIT as problem:
            raise not_injectable(id_, problem) from problem
        await send_again(self._log, id_, submitted)

    async def _request(self, id_: str, record: DeadRecord) -> None:
        """To the topic it came from, whose intake looks at it as at any other."""
        topic = record.noted["topic"]
        if not (record.value or record.own):
            raise not_injectable(id_, "nothing of it was kept")
        if topic in map(self._address.topic, TOPICS):
            raise not_injectable(id_, f"{topic} is a topic of the log itself")
        async with running(self._address.admin()) as admin:
            with translated():
                (described,) = await admin.describe_topics([topic])
        if described["error_code"] or not described["partitions"]:
            raise not_injectable(id_, f"there is no topic {topic}")
        with translated():
            await self._producer.send_and_wait(
                topic, record.value, record.key, headers=list(record.own)
            )

    async def drop(self, id_: str, actor: str, reason: str | None = None) -> Letter:
        """Have done with it."""
        unsettled(id_, await self._find(id_))
        return await self._settled(id_, "dropped", actor, reason)

    async def _settled(self, id_: str, how: How, by: str, why: str | None) -> Letter:
        """The letter as it is now. Raises LetterSettled if somebody was quicker."""
        partition, place = place_of(id_)
        with translated():
            said = await self._producer.send_and_wait(
                self._address.topic("dead"),
                b"",
                partition=partition,
                headers=settles(place, how, by, why),
            )
        letter = await self._find(id_)
        assert letter is not None
        if await self._index.settled_in(id_) != said.offset:
            unsettled(id_, letter)
        log.info("dead_letter_settled", letter=id_, how=how, actor=by, why=why)
        return letter

    async def count(self) -> Sequence[int]:
        """How many wait for somebody, in each partition."""
        await self._read()
        return await self._index.count(self._log.partitions)

    async def _find(self, id_: str) -> Letter | None:
        place_of(id_)
        await self._read()
        return await self._index.find(id_)

    async def _record(self, id_: str) -> DeadRecord | None:
        """The record of a letter; None if it cannot be read, or is no more."""
        partition, place = place_of(id_)
        async with running(self._address.glance()) as consumer:
            topic = self._topic(partition)
            with translated():
                consumer.assign([topic])
                try:
                    record = await first_behind(consumer, topic, place)
                except FAILURES:
                    raise
                except Exception:  # aiokafka cannot read it
                    return None
        return None if record is None or record.offset != place else DeadRecord(record)

    async def _read(self) -> None:
        """Have all in the index that is there now."""
        async with self._reading, running(self._address.glance()) as consumer:
            topics = [self._topic(n) for n in range(self._log.partitions)]
            await read_in(consumer, topics, self._index)

    def _topic(self, partition: int) -> TopicPartition:
        return TopicPartition(self._address.topic("dead"), partition)


def _headers(record: DeadRecord) -> list[Header]:
    """Its own headers, as many as are shown."""
    shown: list[Header] = []
    size = 0
    for name, raw in record.own:
        size += len(name) + len(raw or b"")
        if size > SHOWN:
            break
        shown.append(Header(name, (raw or b"").decode(errors="replace")))
    return shown
