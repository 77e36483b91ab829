"""How far the views have come, and waiting until they have come somewhere."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from adapters.postgres.connection import Address, Bell, open_pool, translated
from adapters.postgres.statements import load

SQL = load("queries")

LOOK = 1.0
"""Seconds after which it is looked up without a notification, which may have been lost."""

PAUSE = 0.005
"""Seconds between two looks, at least."""

log = structlog.get_logger()


class Positions:
    """What every one of some sources has come to, by partition. One look serves all who wait.

    A source is a pool whose path has a table `partitions`: a view's, or that of the log itself. So
    whoever waits for an event finds it in all of them.
    """

    def __init__(self, sources: Sequence["asyncpg.Pool[asyncpg.Record]"]) -> None:
        self.seen: Sequence[int] = ()
        """The sequence of the last event that all have, by partition."""
        self._sources = sources
        self._rung = asyncio.Event()
        self._changed = asyncio.Event()
        self._waiting: dict[int, set[tuple[int, asyncio.Future[None]]]] = {}

    def ring(self, payload: str) -> None:
        """Something has moved."""
        self._rung.set()

    async def run(self, bell: Bell, channels: Sequence[str]) -> None:
        """Look for ever, whenever one of the channels is rung and every now and then."""
        for channel in channels:
            bell.subscribe(channel, self.ring)
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._rung.wait()
            except TimeoutError:
                pass
            self._rung.clear()
            try:
                await self.look()
            except Exception as error:  # also a view that is being put in another's place
                log.warning("positions_unknown", error=repr(error))
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        """Look now. Raises Unavailable."""
        with translated():
            found = [await source.fetch(SQL["positions"]) for source in self._sources]
        sequences = [[row["sequence"] for row in rows] for rows in found]
        seen = [min(of_one) for of_one in zip(*sequences, strict=True)]
        if seen != self.seen:
            self.seen = seen
            self._changed.set()
            self._changed = asyncio.Event()
            self._wake()

    async def changed(self) -> None:
        """Wait until anything has moved."""
        await self._changed.wait()

    async def reached(self, partition: int, sequence: int) -> None:
        """Wait until all have come to an event."""
        if self.seen[partition] >= sequence:
            return
        waiter = sequence, asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(partition, set())
        waiting.add(waiter)
        try:
            await waiter[1]
        finally:
            waiting.discard(waiter)

    def _wake(self) -> None:
        for partition, waiting in self._waiting.items():
            for sequence, reached in waiting:
                if sequence <= self.seen[partition] and not reached.done():
                    reached.set_result(None)


@asynccontextmanager
async def following(view: Address, bell: Bell) -> AsyncIterator[Positions]:
    """The positions of the view at an address, kept up to date meanwhile. Raises Unavailable."""
    async with open_pool(view, 1) as source:
        positions = Positions([source])
        await positions.look()
        looking = asyncio.create_task(positions.run(bell, [view.channel("views")]))
        try:
            yield positions
        finally:
            looking.cancel()
            await asyncio.wait({looking})
