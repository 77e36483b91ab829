"""Events from a partition's records, and the check that none is missing.

Offsets have gaps (each transaction leaves a record of its own), so an event's place is its
`sequence`; and since every sequence has a record of its own behind the genesis, that of an event
is never higher than its offset.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from adapters import cloudevents
from adapters.cloudevents import CloudEvent
from adapters.codec import Codec
from adapters.kafka.connection import translated
from adapters.kafka.records import GENESIS
from adapters.log import Gap
from domain.envelope import Recorded

PAGE: Final = 2_000
"""Events that are read at once; folding them must not keep the event loop for long."""

WAIT: Final = 1.0
"""Seconds to wait for the next records before looking again."""


class Events:
    """The events of one partition, behind sequence *after*, through a consumer of one's own."""

    def __init__(
        self,
        consumer: Any,
        partition: TopicPartition,
        codec: Codec,
        after: int,
        *,
        stored: bool = False,
    ) -> None:
        self.after = after
        """The sequence of the last event that was given out, or that was not asked for."""
        self._consumer = consumer
        self._partition = partition
        self._codec = codec
        self._read = cloudevents.stored if stored else cloudevents.read
        self._last: int | None = None

    async def begin(self) -> int:
        """Go to where they begin; return the offset behind the last committed one."""
        consumer, partition = self._consumer, self._partition
        with translated():
            consumer.assign([partition])
            end = await last_stable(consumer, partition)
            consumer.seek(partition, await self._locate(end))
        return end

    async def _locate(self, end: int) -> int:
        """An offset at or before that of the event *after*, and not far from it."""
        low, high = min(self.after, end), end
        while high - low > 2 * PAGE:
            middle = (low + high) // 2
            found = await first_behind(self._consumer, self._partition, middle)
            if found is None or cloudevents.parse(found.value).sequence > self.after:
                high = middle
            else:
                low = found.offset
        return low

    async def until(self, end: int) -> AsyncIterator[Sequence[Recorded]]:
        """All of them before an offset."""
        while True:
            with translated():
                if await self._consumer.position(self._partition) >= end:
                    return
            if page := await self.next():
                yield page

    async def next(self) -> Sequence[Recorded]:
        """The next ones; none if none came for a while. Raises Gap, FutureEvent, CodecError."""
        with translated():
            found = await self._consumer.getmany(
                self._partition, timeout_ms=int(WAIT * 1e3), max_records=PAGE
            )
        page = []
        for record in found.get(self._partition, ()):
            envelope = cloudevents.parse(record.value)
            if self._is_new(envelope):
                page.append(self._read(envelope, self._codec))
        if page:
            self.after = page[-1].sequence
        return page

    def _is_new(self, envelope: CloudEvent) -> bool:
        sequence, last = envelope.sequence, self._last
        if last is None:
            if sequence > self.after:
                raise self._gap(sequence, self.after)
        elif sequence != last + 1:
            raise self._gap(sequence, last + 1)
        self._last = sequence
        return sequence > self.after and envelope.type != GENESIS

    def _gap(self, found: int, expected: int) -> Gap:
        return Gap(f"partition {self._partition.partition} has {found} where {expected} should be")


async def last_stable(consumer: Any, partition: TopicPartition) -> int:
    """The offset behind the last record that a reader of committed ones may see."""
    ends = await consumer.end_offsets([partition])
    return int(ends[partition])


async def first_behind(consumer: Any, partition: TopicPartition, offset: int) -> Any:
    """The first record at or behind an offset, None if there is none."""
    consumer.seek(partition, offset)
    end = await last_stable(consumer, partition)
    while await consumer.position(partition) < end:
        found = await consumer.getmany(partition, timeout_ms=int(WAIT * 1e3), max_records=1)
        if found:
            return found[partition][0]
    return None


async def last_event(consumer: Any, partition: TopicPartition) -> CloudEvent | None:
    """The envelope of the last committed event or genesis, None if there is neither."""
    consumer.assign([partition])
    end = await last_stable(consumer, partition)
    back = 8
    while True:
        start = max(0, end - back)
        last = None
        consumer.seek(partition, start)
        while await consumer.position(partition) < end:
            found = await consumer.getmany(partition, timeout_ms=int(WAIT * 1e3), max_records=PAGE)
            for record in found.get(partition, ()):
                if record.offset < end:
                    last = record
        if last is not None:
            return cloudevents.parse(last.value)
        if start == 0:
            return None
        back *= 8
