"""One reader of the stream, as the hub sees it: what waits for it, and how much that may be."""

import asyncio
from collections import deque
from enum import Enum

from adapters.http.live.change import Told, Wanted, marker

SKIPPED = 2_000
"""Events that a reader does not want, after which its cursor is moved all the same."""


class End(Enum):
    """Why a stream ends; the reader goes on behind its last id."""

    SLOW = "too slow: come again with the Last-Event-ID"
    STOPPING = "this server stops: come again with the Last-Event-ID"
    BROKEN = "the log cannot be read on: see the log of this server"


class Subscription:
    """What is wanted of the pages that the hub hands out, until it is taken.

    What waits has a bound in bytes; whoever lets it grow beyond is cut off. One message always
    fits, whatever its size.
    """

    def __init__(self, wanted: Wanted, bound: int) -> None:
        self.end: End | None = None
        """Why nothing follows what waits, if so."""
        self._wanted = wanted
        self._bound = bound
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._skipped = 0
        self._cursor = ""
        self._rung = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def offer(self, told: Told) -> None:
        """Take what is wanted of a page."""
        if self.end is not None:
            return
        if self._wanted.everything:
            wanted, taken = told.messages, told.whole
        else:
            wanted = [message for message in told.messages if message in self._wanted]
            taken = b"".join([message.data for message in wanted])
            self._skipped += len(told.messages) - len(wanted)
        is_last = bool(wanted) and wanted[-1].sequence == told.last
        self._cursor = "" if is_last else told.cursor
        if self._skipped >= SKIPPED and self._cursor:
            taken += marker(self._moved())
        if taken:
            self._put(taken)

    def _put(self, data: bytes) -> None:
        if self._waiting and self._size + len(data) > self._bound:
            self.close(End.SLOW)
            return
        self._waiting.append(data)
        self._size += len(data)
        self._rung.set()

    def close(self, why: End) -> None:
        """Nothing follows; what waits is dropped."""
        if self.end is None:
            self.end = why
            self._waiting.clear()
            self._size = 0
            self._rung.set()

    async def next(self) -> bytes:
        """What waits; nothing when this is the end. It does not count as waiting any more."""
        while not self._waiting and self.end is None:
            self._rung.clear()
            await self._rung.wait()
        if not self._waiting:
            return b""
        data = self._waiting.popleft()
        self._size -= len(data)
        return data

    def passed(self) -> bytes:
        """What moves the reader's cursor behind what it did not want; nothing if it need not."""
        return marker(self._moved()) if self._cursor else b""

    def _moved(self) -> str:
        cursor, self._cursor, self._skipped = self._cursor, "", 0
        return cursor
