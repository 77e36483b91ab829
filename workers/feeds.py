"""Feeds: the events of a partition are read and decoded once for all views that are near another.

A feed reads ahead of whoever follows it and keeps what the others are still to take. One that has
fallen far behind is not waited for: it gets a feed of its own, until it has caught up.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import cast

from adapters.log import Log
from domain.envelope import Stored

BATCH = 4_000
"""Events that are folded in one transaction, about: what has come meanwhile is taken together."""

ROOM = 6_000
"""Events that a feed keeps, about: those that are read ahead, and those to be taken."""

ROOM_BYTES = 32 * 1024 * 1024
"""Bytes of data that it keeps, about."""

PATIENCE = 0.5
"""Seconds for which those who are ahead wait for those who are behind."""

ENDING = 5.0
"""Seconds that the end of reading may take before it is asked for again."""

IDLE = 1.0
"""Seconds after which one that has nothing to fold says that it is alive."""

Page = Sequence[Stored]


class Feed:
    """The events of one partition behind a sequence, and the last of them that were read."""

    def __init__(self, log: Log, partition: int, after: int) -> None:
        self.readers: set[Reader] = set()
        self.start = self.end = after
        """It has the events behind the one and up to the other."""
        self._pages: deque[tuple[Page, float]] = deque()
        self._filled = 0.0
        self._grown = asyncio.Event()
        self._taken = asyncio.Event()
        self._task = asyncio.create_task(self._read(log, partition))

    async def close(self) -> None:
        """Read no more."""
        while not self._task.done():
            self._task.cancel()  # again and again: what is read with may have lost one
            await asyncio.wait({self._task}, timeout=ENDING)
        if not self._task.cancelled():
            self._task.exception()  # whoever follows next meets it again

    def has(self, after: int) -> bool:
        """Whether one that has come so far can go on here."""
        return self.start <= after <= self.end and not self._task.done()

    def page(self, after: int) -> Page:
        """What is there behind a sequence, about a batch at most."""
        found: list[Stored] = []
        for page, _ in self._pages:
            if page[-1].sequence > after:
                found += page[max(0, after + 1 - page[0].sequence) :]
                if len(found) >= BATCH:
                    break
        return found

    def taken(self) -> None:
        """Somebody has come further: there may be room for more."""
        self._taken.set()

    async def grown(self, within: float = IDLE) -> None:
        """Wait for more behind the end, but not for long. Raises what reading has raised."""
        if self._task.done():
            self._task.result()
        try:
            async with asyncio.timeout(within):
                await self._grown.wait()
        except TimeoutError:
            return
        if self._task.done():
            self._task.result()

    async def _read(self, log: Log, partition: int) -> None:
        try:
            async with aclosing(log.follow(partition, self.end, stored=True)) as pages:
                async for page in pages:
                    self._keep(cast("Page", page))
                    while self._filled >= 1:
                        await self._make_room()
        finally:
            self._grown.set()

    def _keep(self, page: Page) -> None:
        fills = max(len(page) / ROOM, sum(len(one.data) for one in page) / ROOM_BYTES)
        self._pages.append((page, fills))
        self._filled += fills
        self.end = page[-1].sequence
        self._grown.set()
        self._grown = asyncio.Event()

    async def _make_room(self) -> None:
        """Drop the oldest page when all have taken it, or when they wait for one alone."""
        oldest = self._pages[0][0][-1].sequence
        while (positions := self._positions()) and min(positions) < oldest:
            self._taken.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._taken.wait()
            except TimeoutError:
                if max(positions) >= self.end:
                    break
        _, fills = self._pages.popleft()
        self._filled -= fills
        self.start = oldest

    def _positions(self) -> set[int]:
        """How far those are who have not fallen behind."""
        return {reader.after for reader in self.readers if reader.after >= self.start}


class Reader:
    """One who takes the events of a partition in their order, of whichever feed has them."""

    def __init__(self, feeds: "Feeds", partition: int, after: int) -> None:
        self.after = after
        """The sequence of the last event that was taken."""
        self._feeds = feeds
        self._partition = partition
        self._feed: Feed | None = None

    async def next(self, within: float = IDLE) -> Sequence[Stored]:
        """What has come, about a batch at most; nothing if nothing comes for so many seconds.

        Raises what reading has raised.
        """
        feed = self._feeds.best(self._partition, self.after)
        before, self._feed = self._feed, feed
        feed.readers.add(self)
        if before not in (None, feed):
            await self._feeds.left(self, self._partition, before)
        if self.after == feed.end:
            await feed.grown(within)
        events = feed.page(self.after) if feed.has(self.after) else ()
        if events:
            self.after = events[-1].sequence
            feed.taken()
        return events

    async def leave(self) -> None:
        """Take no more."""
        if self._feed is not None:
            await self._feeds.left(self, self._partition, self._feed)


class Feeds:
    """The feeds of a log's partitions, as many as are needed."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._feeds: dict[int, list[Feed]] = defaultdict(list)

    @asynccontextmanager
    async def reader(self, partition: int, after: int) -> AsyncIterator[Reader]:
        """One who goes on behind sequence *after*."""
        reader = Reader(self, partition, after)
        try:
            yield reader
        finally:
            await reader.leave()

    def best(self, partition: int, after: int) -> Feed:
        """Of the feeds with which one could go on, that which has come furthest."""
        able = [feed for feed in self._feeds[partition] if feed.has(after)]
        if able:
            return max(able, key=lambda feed: feed.end)
        feed = Feed(self._log, partition, after)
        self._feeds[partition].append(feed)
        return feed

    async def left(self, reader: Reader, partition: int, feed: Feed) -> None:
        """A feed that nobody follows is closed."""
        feed.readers.discard(reader)
        feed.taken()
        if not feed.readers and feed in self._feeds[partition]:
            self._feeds[partition].remove(feed)
            await feed.close()
