"""The live stream: each change once and in order, over as many connections as it takes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from math import inf
from random import uniform
from typing import Final, Self

import httpx
import msgspec
from msgspec import Struct

from .closing import Closing
from .connection import LATER, Connection, Query, Waits, lines, path
from .errors import Refused, TooMany, TurnstileError
from .rows import Change

SILENCE: Final = 45.0
"""Seconds without a word after which the connection is lost; the server says one every 15."""

LONGEST: Final = 30.0
AHEAD: Final = 1_000
"""Changes that are read before somebody asks for them."""

REMEMBERED: Final = 4_096
"""Changes whose ids are kept, so that none comes twice whatever is between us and the server."""

_decode: Final = msgspec.json.Decoder(Change).decode


class Message(Struct):
    """A message of the stream: behind it, one goes on with its `id`."""

    id: str | None = None
    data: bytes = b""
    retry: float | None = None


Told = tuple[str | None, Change | None] | Exception | None
"""An id with the change that it stands behind, what ends the stream, or that it was closed."""


class Changes(Closing):
    """What happens, from now on or behind `after_id`, until it is closed.

    A lost connection is made again, and goes on behind the last change. `last_id` is that of what
    was given out last: whoever stores it goes on there another day, as `after_id`. Whoever waits
    for a change may be cancelled, and misses none.

    Raises:
        Refused: by the server, for good.
        TurnstileError: what it says is not understood.
    """

    def __init__(
        self,
        connection: Connection,
        query: Query,
        after_id: str | None,
        closed: Callable[["Changes"], None],
    ) -> None:
        self.last_id = after_id
        self._connection = connection
        self._query = query
        self._closed = closed
        self._opened = asyncio.Event()
        self._read_id = after_id
        self._seen: dict[str, None] = {}
        self._told: asyncio.Queue[Told] = asyncio.Queue(AHEAD)
        self._reading: asyncio.Task[None] | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        self._begin()
        while True:
            match await self._told.get():
                case None:
                    self._told.put_nowait(None)  # for others that wait
                    break
                case Exception() as error:
                    await self.close()
                    raise error
                case (id_, change):
                    self.last_id = id_ or self.last_id
                    if change is not None:
                        return change
        raise StopAsyncIteration

    async def opened(self) -> Self:
        """Wait until the server tells what happens from now on, or the stream is over."""
        self._begin()
        await self._opened.wait()
        return self

    async def close(self) -> None:
        """End it: whoever waits for a change hears that there is none."""
        self._is_over = True
        self._opened.set()
        self._closed(self)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        while not self._told.empty():
            self._told.get_nowait()
        self._told.put_nowait(None)

    def _begin(self) -> None:
        if self._reading is None and not self._is_over:
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Read one connection after another."""
        waits, retry = Waits(inf, LONGEST), 0.0
        while True:
            at_least = retry
            try:
                async with aclosing(self._messages()) as messages:
                    async for message in messages:
                        waits.begin_anew()
                        retry = message.retry or retry
                        await self._take(message)
            except Refused as refused:
                if refused.problem.status not in LATER and not isinstance(refused, TooMany):
                    return await self._fail(refused)
                at_least = max(retry, refused.retry_after or 0.0)
            except httpx.TransportError:
                pass  # they are not there, or somebody on the way to them is not
            except Exception as error:
                return await self._fail(error)
            await waits.wait(at_least * uniform(1.0, 1.5))

    async def _fail(self, error: Exception) -> None:
        self._opened.set()
        await self._told.put(error)

    async def _take(self, message: Message) -> None:
        change = None
        if message.data:
            try:
                change = _decode(message.data)
            except (msgspec.MsgspecError, ValueError) as error:
                said = f"the stream tells no change of Turnstile's: {error}"
                raise TurnstileError(said) from error
        if change is not None and change.id in self._seen:
            change = None
        if change is not None:
            self._seen[change.id] = None
            if len(self._seen) > REMEMBERED:
                del self._seen[next(iter(self._seen))]
        await self._told.put((message.id, change))
        self._read_id = message.id or self._read_id
        if self._read_id is not None:  # else another connection would begin later
            self._opened.set()

    async def _messages(self) -> AsyncGenerator[Message]:
        """What one connection tells."""
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",  # who compresses on the way may wait for more
            "cache-control": "no-store",
        }
        if self._read_id is not None:
            headers["last-event-id"] = self._read_id
        streaming = self._connection.streaming(
            "GET", path("stream"), query=self._query, headers=headers, silence=SILENCE
        )
        async with streaming as answer, aclosing(messages(answer)) as read:
            kind = answer.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise TurnstileError(f"{answer.request.url} is no stream of events but {kind!r}")
            async for message in read:
                yield message


async def messages(answer: httpx.Response) -> AsyncGenerator[Message]:
    """Each message once it is whole. After the HTML Living Standard, 9.2.6."""
    async with aclosing(lines(answer)) as read:
        message = Message()
        async for line in read:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                yield message
                message = Message()
            elif name == b"data":
                message.data += b"\n" + value if message.data else value
            elif name == b"id" and b"\0" not in value:
                message.id = value.decode()
            elif name == b"retry":
                with suppress(ValueError):
                    message.retry = int(value) / 1e3
