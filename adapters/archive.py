"""The archive's port: where closed streams come back from.

It has every event of the log by its stream, up to a position in each partition. Where PostgreSQL
keeps the log, that is the log itself; elsewhere it is a view, which may be behind.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from domain.envelope import Recorded


class Archive(Protocol):
    """Events by their streams."""

    async def position(self, partition: int) -> int:
        """The sequence up to which it has all events of a partition. Raises Unavailable."""
        ...

    def of_streams(self, streams: Sequence[str], until: int) -> AsyncIterator[Sequence[Recorded]]:
        """The events of these streams up to sequence *until*, each stream's in their order.

        They are of one partition. Raises Unavailable, and FutureEvent and CodecError as the codec
        does.
        """
        ...
