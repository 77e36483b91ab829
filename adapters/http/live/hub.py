"""The hub: reads each event once for all readers of this process.

It is woken when the views have moved, though not at once after the last time, and reads of each
partition what is new up to where the views *and* the archive have come: whoever hears of a change
finds it in both.
A reader that comes again reads the archive by itself up to where the hub is, and joins it there.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from adapters.http.live.change import Told, Wanted, comment, marker
from adapters.http.live.cursor import Cursors, Vector
from adapters.http.live.subscription import End, Subscription
from adapters.http.live.telling import Teller, told
from adapters.http.problems import Refusal
from adapters.log import Unavailable
from adapters.postgres.views.positions import Positions

TOGETHER: Final = 0.03
"""Seconds between two rounds, at least: so what comes meanwhile is gathered."""

PAGE: Final = 500
"""Events that are read and told at once; telling them must not keep the event loop for long."""

CATCHING_UP: Final = 3
"""Readers that read the archive by themselves at the same time; the others wait their turn."""

BOUND: Final = 4 * 1024 * 1024
"""Bytes that may wait for one reader."""

RETRY: Final = 1.0
"""Seconds until what could not be read is tried again."""

log = structlog.get_logger()


class Hub:
    """Hands every change to all who listen."""

    def __init__(
        self,
        teller: Teller,
        positions: Positions,
        cursors: Cursors,
        *,
        most: int = 1_000,
        bound: int = BOUND,
    ) -> None:
        self.cursors = cursors
        self.streams = 0
        """Streams that are open."""
        self.dropped = 0
        """Readers that were cut off because they were too slow."""
        self.closed = asyncio.Event()
        self._teller = teller
        self._positions = positions
        self._vector = cursors.at(positions.seen)
        self._most = most
        self._bound = bound
        self._subscriptions: set[Subscription] = set()
        self._turn = asyncio.Semaphore(CATCHING_UP)
        self._moved = asyncio.Event()
        self._broken = False

    @property
    def listeners(self) -> int:
        """Readers that have come to where the hub is."""
        return len(self._subscriptions)

    @property
    def waiting(self) -> int:
        """Bytes that wait for readers."""
        return sum(one.size for one in self._subscriptions)

    async def run(self) -> None:
        """Hand out what comes, for ever."""
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            if not self._is_behind():
                await self._positions.changed()
            await asyncio.sleep(began + TOGETHER - now())  # not at all where it was quiet
            began = now()
            try:
                await self._round()
                self._broken = False
                self._moved.set()
                self._moved = asyncio.Event()
            except Unavailable as error:
                log.warning("stream_waits", error=str(error))
                await asyncio.sleep(RETRY)
            except Exception as error:  # Gap, FutureEvent, and whatever nobody has thought of
                self._broken = True
                log.critical("stream_broken", error=str(error), kind=type(error).__name__)
                self._end_all(End.BROKEN)
                await asyncio.sleep(RETRY)

    def _is_behind(self) -> bool:
        here = self._vector.positions
        return any(n < seen for n, seen in zip(here, self._positions.seen, strict=True))

    async def _round(self) -> None:
        for partition, upto in enumerate(self._positions.seen):
            while (after := self._vector.positions[partition]) < upto:
                if not self._subscriptions and not self._broken:
                    self._vector.move(partition, upto)  # nobody listens
                    break
                events, known = await self._teller.read(partition, after, upto, PAGE)
                self._hand_out(told(partition, events, known, self._vector))
                await asyncio.sleep(0)

    def _hand_out(self, page: Told) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.offer(page)
            if subscription.end is End.SLOW:
                self.dropped += 1
                self._subscriptions.discard(subscription)

    def admit(self) -> None:
        """Count one more stream, which must be left. Raises Refusal if there are too many."""
        if self._broken:
            raise Refusal(503, "unavailable", End.BROKEN.value)
        if self.streams >= self._most:
            raise Refusal(
                429,
                "too-many",
                f"This server has {self._most} streams open, and no more.",
                headers={"Retry-After": "5"},
            )
        self.streams += 1

    def leave(self) -> None:
        """A stream is over."""
        self.streams -= 1

    def now(self) -> Vector:
        """Where the stream is."""
        return self._vector.copy()

    def join(self, wanted: Wanted) -> tuple[Subscription, Sequence[int]]:
        """Have everything from now on; where the hub is now."""
        subscription = Subscription(wanted, self._bound)
        if self.closed.is_set():
            subscription.close(End.STOPPING)
        self._subscriptions.add(subscription)
        return subscription, tuple(self._vector.positions)

    def part(self, subscription: Subscription) -> None:
        """Have no more."""
        self._subscriptions.discard(subscription)

    async def nearing(
        self, wanted: Wanted, vector: Vector, alive: float
    ) -> AsyncGenerator[bytes, None]:
        """What is between a vector and the hub, until it is nowhere ahead and hardly behind.

        It may be ahead: of another process, or of views that are folded anew. The hub is waited
        for then, with a line every *alive* seconds. Raises Unavailable, Gap and CodecError.
        """
        while not self.closed.is_set():
            gaps = [
                hub - at for at, hub in zip(vector.positions, self._vector.positions, strict=True)
            ]
            if min(gaps) >= 0 and sum(gaps) <= PAGE:
                return
            if max(gaps) <= 0:
                try:
                    async with asyncio.timeout(alive):
                        await self._moved.wait()
                except TimeoutError:
                    yield comment("waiting for the views")
                continue
            upto = tuple(self._vector.positions)
            async with aclosing(self.between(wanted, vector, upto)) as parts:
                async for part in parts:
                    yield part

    async def between(
        self, wanted: Wanted, vector: Vector, upto: Sequence[int]
    ) -> AsyncGenerator[bytes, None]:
        """What is between a vector, which moves, and positions."""
        for partition, end in enumerate(upto):
            while (after := vector.positions[partition]) < end and not self.closed.is_set():
                async with self._turn:
                    events, known = await self._teller.read(partition, after, end, PAGE)
                    page = told(partition, events, known, vector)
                mine = [one for one in page.messages if one in wanted]
                parts = [one.data for one in mine]
                if not mine or mine[-1].sequence != page.last:
                    parts.append(marker(page.cursor))
                yield b"".join(parts)

    def close(self) -> None:
        """End all streams at once."""
        self.closed.set()
        self._end_all(End.STOPPING)

    def _end_all(self, why: End) -> None:
        for subscription in self._subscriptions:
            subscription.close(why)
        self._subscriptions.clear()
