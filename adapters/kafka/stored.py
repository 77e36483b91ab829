"""The log's topics as `eventsourcing` sees them: stored events, notifications, tracking.

Reading never opens a producer. What is read was committed, and is all that a broker showed as
committed when it was asked for; what this process has written itself is always among it.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import TopicPartition
from eventsourcing.persistence import Notification, ProgrammingError, StoredEvent, Tracking
from msgspec import Struct

from adapters.kafka.connection import Address, ended, started, translated
from adapters.kafka.envelopes import drafted, stored
from adapters.kafka.index import Marks, Streams
from adapters.kafka.owner import TIMEOUT
from adapters.kafka.reading import last_stable
from adapters.kafka.tail import PAGE, Tail
from adapters.kafka.topics import DAY, TOPICS
from adapters.kafka.transaction import Request
from adapters.kafka.writer import Writer
from adapters.log import Unavailable
from adapters.recorders import PARTITION
from domain.envelope import partition_of

TRACKED: Final[Mapping[str, Mapping[str, str]]] = {
    **TOPICS,
    # The last mark of each application stays. Whoever looks for one that he has written and does
    # not know whether he did, has a day for it.
    "tracking": {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY)},
}
"""The topics of a log in which there is tracking."""

WAKE: Final = 1.0
"""Seconds after which a subscription looks by itself."""


class Part(Struct, frozen=True):
    """One partition: what is known of it, and who writes to it."""

    streams: Streams
    marks: Marks
    writer: Writer

    async def close(self) -> None:
        """End what it has opened."""
        await self.writer.close()
        await asyncio.gather(self.streams.tail.close(), self.marks.tail.close())


class StoredEvents:
    """The log's events, to be read, and to be written where no engine is.

    Its memory is a cache that `forget` throws away.
    """

    def __init__(self, address: Address, patience: float) -> None:
        self.partitions = 0
        """Of the log, once it is known."""
        self.home: int | None = None
        """The partition that was said to be the application's own."""
        self._address = address
        self._patience = patience
        self._parts: dict[int, Part] = {}
        self._waking: set[asyncio.Task[Any]] = set()

    async def insert(
        self, events: Sequence[StoredEvent], tracking: Tracking | None = None
    ) -> list[int]:
        """Append all of *events* and *tracking*, or nothing; return the events' sequences.

        Raises ProgrammingError for what belongs into several partitions: each has a transaction
        of its own.
        """
        now = datetime.now(UTC)
        drafts = [drafted(event, now) for event in events]
        homes = {partition_of(draft.stream, self.partitions) for draft in drafts}
        if len(homes) > 1:
            raise ProgrammingError(
                f"the events' streams live in the partitions {sorted(homes)}, and nobody can write "
                "to several at once"
            )
        if tracking is not None:
            home = self._home()
            if homes - {home}:
                raise ProgrammingError(
                    f"the events' streams live in partition {homes.pop()}, and the tracking in "
                    f"{home}, as {PARTITION} says: nobody can write to several at once"
                )
            homes.add(home)
        if not homes:
            return []
        return await self._part(homes.pop()).writer.write(Request(drafts, tracking))

    async def select(
        self, stream: str, gt: int | None, lte: int | None, limit: int | None, *, desc: bool
    ) -> list[StoredEvent]:
        """The stream's events with versions behind *gt* and up to *lte*."""
        streams = self._part(partition_of(stream, self.partitions)).streams
        await streams.catch_up()
        offsets = streams.versions(stream, gt, lte)[:: -1 if desc else 1][:limit]
        records = await streams.tail.at(offsets)
        return [stored(records[offset].value) for offset in offsets]

    async def notifications(
        self, partition: int, start: int, stop: int | None, topics: Sequence[str], limit: int
    ) -> list[Notification]:
        """The partition's events from sequence *start* up to *stop*, of these topics if any."""
        streams = self._part(partition).streams
        await streams.catch_up()
        last = streams.last if stop is None else min(stop, streams.last)
        first = max(1, start)
        found: list[Notification] = []
        while first <= last and len(found) < limit:
            page = PAGE if topics else min(PAGE, limit - len(found))
            offsets = streams.offsets(first, min(last, first + page - 1))
            records = await streams.tail.at(offsets)
            for sequence, offset in enumerate(offsets, start=first):
                event = stored(records[offset].value)
                if not topics or event.topic in topics:
                    found.append(_notification(sequence, event))
            first += len(offsets)
        return found[:limit]

    async def end(self, partition: int) -> int:
        """The sequence of the partition's last event, 0 if there is none."""
        streams = self._part(partition).streams
        await streams.catch_up()
        return streams.last

    async def track(self, tracking: Tracking) -> None:
        """Move the mark of how far another log was processed. Raises AlreadyTracked."""
        await self.insert([], tracking)

    async def tracked(self, application_name: str) -> int | None:
        """How far the log of that name was processed."""
        marks = self._part(self._home()).marks
        await marks.catch_up()
        return marks.positions.get(application_name)

    async def wake(self, partition: int, sleeper: threading.Event) -> None:
        """Set *sleeper* whenever the partition may have grown, and when this is ended."""
        task = asyncio.current_task()
        assert task is not None
        self._waking.add(task)
        try:
            while True:
                with suppress(Unavailable):
                    await self._wake(partition, sleeper)
                await asyncio.sleep(WAKE)
        finally:
            self._waking.remove(task)
            sleeper.set()

    async def _wake(self, partition: int, sleeper: threading.Event) -> None:
        events = TopicPartition(self._address.topic("events"), partition)
        consumer = await started(self._address.consumer())
        try:
            with translated():
                consumer.assign([events])
                consumer.seek(events, await last_stable(consumer, events))
                while True:
                    sleeper.set()
                    await consumer.getmany(events, timeout_ms=int(WAKE * 1e3))
        finally:
            await ended(consumer)

    async def close(self) -> None:
        """End what was opened."""
        waking = list(self._waking)
        for task in waking:
            task.cancel()
        await asyncio.gather(*waking, return_exceptions=True)
        await self.forget()

    async def forget(self) -> None:
        """Give the memory back. What is asked for next is read anew; what waits is cancelled."""
        parts, self._parts = self._parts, {}
        await asyncio.gather(*(part.close() for part in parts.values()))

    def _part(self, number: int) -> Part:
        part = self._parts.get(number)
        if part is None:
            streams = Streams(Tail(self._address, "events", number))
            marks = Marks(Tail(self._address, "tracking", number))
            writer = Writer(self._address, number, streams, marks, self._patience)
            part = self._parts[number] = Part(streams, marks, writer)
        return part

    def _home(self) -> int:
        if self.home is None:
            raise ProgrammingError(
                f"the log has {self.partitions} partitions, each with tracking of its own: "
                f"say which by {PARTITION}"
            )
        return self.home


def _notification(sequence: int, event: StoredEvent) -> Notification:
    return Notification(
        event.originator_id, event.originator_version, event.topic, event.state, id=sequence
    )


@asynccontextmanager
async def open_stored(
    address: Address, *, patience: float = TIMEOUT
) -> AsyncIterator[StoredEvents]:
    """The topics at an address. A transaction that takes longer than *patience* has failed."""
    events = StoredEvents(address, patience)
    try:
        yield events
    finally:
        await events.close()
