"""A log as it grows: server-sent events, each with the bytes behind an offset."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from adapters.http.live import response
from adapters.http.live.change import comment
from adapters.http.live.hub import CATCHING_UP, Hub
from adapters.http.live.response import RETRY, Events
from adapters.http.live.subscription import End
from adapters.log import LogError
from adapters.postgres.connection import Bell
from adapters.postgres.logs import Logs
from domain.errors import Invalid

HEADER: Final = "Last-Event-ID"

PIECE: Final = 256 * 1024
"""Bytes of a log that wait for one reader, at most."""

log = structlog.get_logger()
_encode: Final = msgspec.json.Encoder().encode


class LogPart(Struct, frozen=True, omit_defaults=True):
    """Bytes of the log from `start` on, in Base64; with the last of them the log has `ended`."""

    start: int
    data: bytes = b""
    ended: bool = False


def position(last_event_id: str) -> int:
    """The offset behind the last event that a reader has. Raises Invalid."""
    if last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 16:
        return int(last_event_id)
    raise Invalid(field=HEADER, reason="it is the offset behind the last event")


class LogsMoved:
    """Wakes who waits for a log, on the connection that listens for this whole process."""

    def __init__(self, bell: Bell, channel: str) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.turn = asyncio.Semaphore(CATCHING_UP)
        """Readers that read at the same time."""
        bell.subscribe(channel, self._ring)

    def _ring(self, which: str) -> None:
        for event in self._waiting.get(which, ()):
            event.set()

    @contextmanager
    def of(self, ticket: str, token: int) -> Iterator[asyncio.Event]:
        """What is set whenever this log has changed."""
        which, event = f"{ticket}/{token}", asyncio.Event()
        self._waiting[which].add(event)
        try:
            yield event
        finally:
            self._waiting[which].discard(event)
            if not self._waiting[which]:
                del self._waiting[which]


class LogEvents(Events):
    """A log from an offset on, until it has ended, its reader leaves, or the server stops."""

    def __init__(
        self,
        hub: Hub,
        logs: Logs,
        moved: LogsMoved,
        is_over: Callable[[str, int], Awaitable[bool]],
        which: tuple[str, int],
        start: int,
    ) -> None:
        super().__init__(hub)
        self._logs = logs
        self._moved = moved
        self._is_over = is_over
        self._which = which
        self._at = start

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        yield RETRY + comment("the log begins here")
        try:
            with self._moved.of(*self._which) as changed:
                async with aclosing(self._following(changed)) as parts:
                    async for part in parts:
                        yield part
        except LogError as error:
            log.warning("log_unreadable", error=str(error))
            yield comment("the log is away: come again with the Last-Event-ID")

    async def _following(self, changed: asyncio.Event) -> AsyncGenerator[bytes, None]:
        while not self._hub.closed.is_set():
            changed.clear()
            state = await self._logs.state(*self._which)
            size = state.size if state else 0
            while self._at < size:
                data = await self._read(min(size, self._at + PIECE))
                start, self._at = self._at, self._at + len(data)
                yield self._message(LogPart(start, data))
            if state.ended if state else await self._is_over(*self._which):
                yield self._message(LogPart(self._at, ended=True))
                return
            try:
                async with asyncio.timeout(response.KEPT):
                    await changed.wait()
            except TimeoutError:
                yield comment("alive")
        yield comment(End.STOPPING.value)

    async def _read(self, upto: int) -> bytes:
        async with self._moved.turn:
            pieces = self._logs.read(*self._which, self._at, upto)
            async with aclosing(pieces):
                return b"".join([piece async for piece in pieces])

    def _message(self, part: LogPart) -> bytes:
        return b"id: %d\ndata: %b\n\n" % (self._at, _encode(part))
