"""The dead topic, read into the index: from where anybody has come, to where it ends now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

from aiokafka import TopicPartition

from adapters.dead import Letter
from adapters.kafka.connection import FAILURES, REQUEST, translated
from adapters.kafka.dead_records import DeadRecord, unreadable
from adapters.log import Unavailable
from adapters.postgres.letter_index import LetterIndex, Settling

PAGE: Final = 500
"""Records that are entered into the index at once."""

WAIT: Final = 1.0
"""Seconds to wait for records that are there."""


async def read_in(consumer: Any, topics: Sequence[TopicPartition], index: LetterIndex) -> None:
    """Enter all that these partitions have now. Raises Unavailable."""
    with translated():
        ends = await consumer.end_offsets(topics)
    starts = await index.read_to()
    for topic in topics:
        start = starts[topic.partition]
        if start > ends[topic]:  # it was made anew
            await index.forget(topic.partition, start)
        if start != ends[topic]:
            await _Reading(consumer, topic, index).until(ends[topic])


class _Reading:
    """One partition on its way into the index."""

    def __init__(self, consumer: Any, topic: TopicPartition, index: LetterIndex) -> None:
        self._consumer = consumer
        self._topic = topic
        self._index = index
        self._is_careful = False

    async def until(self, end: int) -> None:
        """Enter page by page what is before an offset, while others may do the same."""
        with translated():
            self._consumer.assign([self._topic])
            starts = await self._consumer.beginning_offsets([self._topic])
        number, moved = self._topic.partition, monotonic()
        start = await self._seek(starts[self._topic])
        while start < end:
            with translated():
                page, place = await self._next(max(start, starts[self._topic]))
            if place > start:
                letters, settlings = _sorted(page)
                is_first = await self._index.enter(number, start, place, letters, settlings)
                start = place if is_first else await self._seek(starts[self._topic])
                moved = monotonic()
            elif monotonic() > moved + REQUEST:
                raise Unavailable(f"Kafka: {self._topic} cannot be read on from {start}")

    async def _seek(self, first: int) -> int:
        """Go on from where the index is."""
        start = (await self._index.read_to())[self._topic.partition]
        self._consumer.seek(self._topic, max(start, first))
        return start

    async def _next(self, place: int) -> tuple[Sequence[DeadRecord | Letter], int]:
        """The next records, and the place behind them."""
        consumer, topic = self._consumer, self._topic
        most = 1 if self._is_careful else PAGE
        try:
            found = await consumer.getmany(topic, timeout_ms=int(WAIT * 1e3), max_records=most)
        except FAILURES:
            raise
        except Exception as error:  # aiokafka cannot read a record
            return await self._unreadable(place, error)
        return [DeadRecord(one) for one in found.get(topic, ())], await consumer.position(topic)

    async def _unreadable(self, place: int, error: Exception) -> tuple[Sequence[Letter], int]:
        """Find the record that is at fault, by going on one by one; then pass it by."""
        if not self._is_careful:
            self._is_careful = True
            self._consumer.seek(self._topic, place)
            return [], place
        self._is_careful = False
        at: int = await self._consumer.position(self._topic)
        self._consumer.seek(self._topic, at + 1)
        return [unreadable(self._topic.partition, at, datetime.now(UTC), error)], at + 1


def _sorted(page: Sequence[DeadRecord | Letter]) -> tuple[list[Letter], list[Settling]]:
    """Letters, and what became of some."""
    letters: list[Letter] = []
    settlings: list[Settling] = []
    for record in page:
        if isinstance(record, Letter):
            letters.append(record)
        elif not record.is_settling:
            letters.append(record.letter())
        elif settling := record.settling():
            settlings.append(settling)
    return letters, settlings
