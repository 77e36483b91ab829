"""A proxy before an API, to do to real traffic what networks and other proxies do.

async with proxied(host, port) as proxy:
    proxy.next(lose(), busy(503))
    ...  # the first answer is lost, the second request is refused, and then all is well
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

PART = 1 << 16


class Trouble(NamedTuple):
    """What becomes of a request: a word instead of it, or so much of its answer."""

    instead: bytes | None = None
    answered: int | None = None


def reset() -> Trouble:
    """The connection is cut before anybody has heard the request."""
    return Trouble(instead=b"")


def lose(answered: int = 0) -> Trouble:
    """It is done, but of the answer only so many bytes arrive."""
    return Trouble(answered=answered)


def busy(status: int, *headers: str) -> Trouble:
    """Somebody on the way says no, in words of his own."""
    lines = (f"HTTP/1.1 {status} Not now", "content-length: 4", "connection: close", *headers)
    return Trouble(instead="\r\n".join((*lines, "", "busy")).encode())


class Proxy:
    """Between a client and one server.

    Attributes:
        url: where it is.
        requests: how many have come in.
        heard: bytes of requests that the server has been told.
    """

    def __init__(self, host: str, port: int) -> None:
        self.url = ""
        self.requests = 0
        self.heard = 0
        self._to = host, port
        self._troubles: deque[Trouble] = deque()
        self._under_way: set[asyncio.StreamWriter] = set()

    def next(self, *troubles: Trouble) -> None:
        """What becomes of the next requests, one after the other."""
        self._troubles += troubles

    def forget(self) -> None:
        """Make no more trouble."""
        self._troubles.clear()

    def cut(self) -> None:
        """Cut all connections that there are."""
        for writer in self._under_way:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        self._under_way.add(writer)
        try:
            there, to = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        conversation = _Conversation(self._trouble, self._hear)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(conversation.requests(reader, writer, to))
                both.create_task(conversation.answers(there, writer))
        except* (OSError, _Over):
            pass
        finally:
            self._under_way.discard(writer)
            for each in (writer, to):
                each.transport.abort()

    def _trouble(self) -> Trouble:
        self.requests += 1
        return self._troubles.popleft() if self._troubles else Trouble()

    def _hear(self, part: bytes) -> None:
        self.heard += len(part)


class _Over(Exception):
    """The connection is not to go on."""


class _Conversation:
    """Requests and answers by turns; a part of either is no new one."""

    def __init__(self, trouble: Callable[[], Trouble], hear: Callable[[bytes], None]) -> None:
        self._trouble = trouble
        self._hear = hear
        self._is_asked = False
        self._left: int | None = None

    async def requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: asyncio.StreamWriter
    ) -> None:
        while part := await reader.read(PART):
            if not self._is_asked:
                self._is_asked = True
                trouble = self._trouble()
                self._left = trouble.answered
                if trouble.instead is not None:
                    await _say(writer, trouble.instead)
                    raise _Over
            self._hear(part)
            await _say(to, part)
        raise _Over

    async def answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await there.read(PART):
            self._is_asked = False
            if self._left is not None:
                part, self._left = part[: self._left], self._left - len(part)
            if part:
                await _say(writer, part)
            if self._left is not None and self._left <= 0:
                raise _Over
        raise _Over


async def _say(writer: asyncio.StreamWriter, what: bytes) -> None:
    if what:
        writer.write(what)
        await writer.drain()


@asynccontextmanager
async def proxied(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy for a server."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
