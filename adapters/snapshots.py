"""The snapshots' port: what a partition's state was, so that a takeover need not fold all of it.

A snapshot is written in parts while the partition is served: it begins behind one event and ends
behind a later one, and has some streams as they were in between. It counts with its end mark only.
It is a cache: nothing is lost with it but time.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol
from uuid import UUID

from msgspec import Struct


class Beginning(Struct, frozen=True):
    """Of which state a snapshot is.

    `log` is the id of the log's partition, `form` tells one form of the state from another;
    `sequence` and `event` are of the last event before it was begun.
    """

    partition: int
    log: UUID
    form: bytes
    sequence: int
    event: UUID


class End(Struct, frozen=True):
    """What was true when the last part was written.

    `sequence` and `event` are of the last event then. `evicted` is how far an archive must be, and
    `quarantined` names the streams that could not be folded.
    """

    sequence: int
    event: UUID
    evicted: int
    quarantined: Sequence[str]
    parts: int


class Complete(Struct, frozen=True):
    """A snapshot with its end mark."""

    id: int
    beginning: Beginning
    end: End


class Damaged(Exception):
    """A snapshot is not what was written."""


class Snapshots(Protocol):
    """Snapshots of the partitions of one log. Everything raises Unavailable."""

    async def begin(self, beginning: Beginning) -> int:
        """A new snapshot; its number."""
        ...

    async def add(self, snapshot: int, n: int, data: bytes) -> None:
        """Its *n*-th part."""
        ...

    async def finish(self, snapshot: int, end: End) -> None:
        """All parts are there. Earlier snapshots of the partition go."""
        ...

    async def latest(self, partition: int) -> Complete | None:
        """The one that was begun last, of those that are complete. Raises Damaged."""
        ...

    def parts(self, snapshot: Complete) -> AsyncIterator[bytes]:
        """Its parts in their order. Raises Damaged."""
        ...
