"""What is known in memory of a partition's records: a cache, made anew by reading.

Some 30 bytes an event and 300 a stream; what is in the events stays in Kafka.
"""

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final

from eventsourcing.persistence import Tracking

from adapters.kafka.envelopes import Place, place, read_mark
from adapters.kafka.tail import Tail
from adapters.log import Gap

REQUEST_ID: Final = "request"
"""The header that says in whose request a record was written."""


class Index:
    """Grows by reading what was committed, and by what its own process says that it committed.

    The latter is needed: what a broker has acknowledged as committed can be read only a little
    later.
    """

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.position = 0
        """The offset before which everything is known."""
        self.awaited: dict[bytes, list[int]] = {}
        """Requests whose outcome somebody wants to know, and what was found of each."""
        self._one_reader = asyncio.Lock()

    async def catch_up(self) -> None:
        """Know all that could be read when this was called. Raises Unavailable, Gap, CodecError."""
        async with self._one_reader:
            end = await self.tail.end()
            while self.position < end:
                page, behind = await self.tail.page(self.position)
                for record in page:
                    found = self._add(record)
                    if self.awaited:
                        self._tell(record, found)
                self.position = max(self.position, behind)

    def _tell(self, record: Any, found: int) -> None:
        for name, value in record.headers:
            if name == REQUEST_ID and value in self.awaited:
                self.awaited[value].append(found)

    def _add(self, record: Any) -> int:
        """Know of one record; return the number that its request is told."""
        raise NotImplementedError


class Streams(Index):
    """Of the events: where each version of each stream is."""

    def __init__(self, tail: Tail) -> None:
        super().__init__(tail)
        self._offsets = array("q")
        self._streams: dict[str, _Versions] = {}

    @property
    def last(self) -> int:
        """The sequence of the last event."""
        return len(self._offsets)

    def has(self, stream: str, version: int) -> bool:
        """Whether the version is there."""
        versions = self._streams.get(stream)
        return versions is not None and version in versions

    def versions(self, stream: str, gt: int | None, lte: int | None) -> Sequence[int]:
        """The offsets of a stream's events by version, behind *gt* and up to *lte*."""
        versions = self._streams.get(stream)
        if versions is None:
            return []
        return [self._offsets[sequence - 1] for sequence in versions.between(gt, lte)]

    def offsets(self, first: int, last: int) -> Sequence[int]:
        """The offsets of the events with the sequences from *first* to *last*."""
        return self._offsets[first - 1 : last]

    def wrote(self, sequence: int, offset: int, stream: str, version: int) -> None:
        """The next event was committed just now; others may have read it here already."""
        if sequence > self.last:
            self._note(sequence, offset, stream, version)
            self.position = max(self.position, offset + 1)

    def _add(self, record: Any) -> int:
        found: Place = place(record.value)
        sequence, offset = found.sequence, record.offset
        if sequence > self.last:
            self._note(sequence, offset, found.subject, found.version)
        elif sequence and self._offsets[sequence - 1] != offset:
            raise Gap(f"{self.tail.partition} has {sequence} at {offset} once more")
        return sequence

    def _note(self, sequence: int, offset: int, stream: str, version: int) -> None:
        if sequence != self.last + 1:
            raise Gap(f"{self.tail.partition} has {sequence} where {self.last + 1} should be")
        self._offsets.append(offset)
        versions = self._streams.get(stream)
        if versions is None:
            versions = self._streams[stream] = _Versions()
        versions.add(version, sequence)


class _Versions:
    """The versions of a stream in order, and the sequence of each."""

    __slots__ = ("_sequences", "_versions")

    def __init__(self) -> None:
        self._versions = array("q")
        self._sequences = array("q")

    def __contains__(self, version: int) -> bool:
        at = bisect_left(self._versions, version)
        return at < len(self._versions) and self._versions[at] == version

    def add(self, version: int, sequence: int) -> None:
        at = bisect_right(self._versions, version)
        self._versions.insert(at, version)
        self._sequences.insert(at, sequence)

    def between(self, gt: int | None, lte: int | None) -> Sequence[int]:
        first = 0 if gt is None else bisect_right(self._versions, gt)
        end = len(self._versions) if lte is None else bisect_right(self._versions, lte)
        return self._sequences[first:end]


class Marks(Index):
    """Of the tracking: how far each application's log was processed."""

    def __init__(self, tail: Tail) -> None:
        super().__init__(tail)
        self.positions: dict[str, int] = {}

    def wrote(self, tracking: Tracking) -> None:
        """The mark was moved just now."""
        name, position = tracking.application_name, tracking.notification_id
        self.positions[name] = max(position, self.positions.get(name, position))

    def _add(self, record: Any) -> int:
        found = read_mark(record.value)
        self.wrote(found)
        return found.notification_id
