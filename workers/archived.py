"""How far the archive of one partition is, and what comes back from it.

Closed streams leave memory only behind the archive's position. When one of them is asked for, the
archive counts only if it is still as far as then: one that was restored from a backup, or is folded
again, is waited for. Until it has caught up the partition decides nothing, and says so.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import structlog

from adapters.archive import Archive
from adapters.log import Unavailable
from workers.partition import Partition

log = structlog.get_logger()

LOOK: Final = 1.0
"""Seconds between two looks at the archive's position."""

SAY: Final = 10
"""Looks after which it is said again that the archive is behind."""


class Archived:
    """The archive of a partition. Without an archive its `position` stays 0: nothing leaves."""

    def __init__(self, archive: Archive | None, partition: int, moved: Callable[[], None]) -> None:
        self.position = 0
        self._archive = archive
        self._partition = partition
        self._moved = moved
        self._looked = monotonic()
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is one."""
        return self._archive is not None

    async def look(self) -> None:
        """Learn how far it is; where it does not answer, what was known before stays true."""
        if self._archive is not None:
            with suppress(Unavailable):
                self.position = await self._archive.position(self._partition)

    def look_again(self) -> None:
        """Look in the background, if the last look is some time ago."""
        if self._archive is None or monotonic() < self._looked + LOOK:
            return
        if self._looking is None or self._looking.done():
            self._looked = monotonic()
            self._looking = asyncio.create_task(self.look())

    async def bring_back(self, partition: Partition, ids: Sequence[str]) -> None:
        """Restore these streams in the partition, as they are behind its last event."""
        while ids:
            try:
                await self._wait_for(partition.memory.closed.evicted, len(ids))
                await self._restore(partition, ids)
            except Unavailable as error:
                self._say("archive_unavailable", streams=len(ids), reason=str(error))
                for id_ in ids:  # what came half way
                    partition.streams.pop(id_, None)
                await self._pause()
            else:
                return

    async def _restore(self, partition: Partition, ids: Sequence[str]) -> None:
        assert self._archive is not None
        async for page in self._archive.of_streams(ids, partition.sequence):
            partition.restore(page)
            self._moved()
            await asyncio.sleep(0)
        log.debug("brought_back", partition=self._partition, streams=len(ids))

    async def _wait_for(self, sequence: int, streams: int) -> None:
        assert self._archive is not None
        looks = 0
        while (position := await self._archive.position(self._partition)) < sequence:
            if looks % SAY == 0:
                self._say(
                    "archive_behind",
                    streams=streams,
                    position=position,
                    needed=sequence,
                    reason="it was further: nothing is decided until it has caught up again",
                )
            looks += 1
            await self._pause()

    def _say(self, what: str, **details: object) -> None:
        log.error(what, partition=self._partition, **details)

    async def _pause(self) -> None:
        self._moved()  # it stands, and that is right
        await asyncio.sleep(LOOK)
        self._moved()

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
