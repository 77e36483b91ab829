"""A stream of server-sent events, as long as its reader listens."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from adapters.codec import CodecError
from adapters.http.live.change import Wanted, comment, marker
from adapters.http.live.cursor import Vector
from adapters.http.live.hub import Hub
from adapters.http.live.subscription import Subscription
from adapters.http.problems import Refusal
from adapters.log import LogError

MEDIA: Final = "text/event-stream"

RETRY: Final = b"retry: 1000\n\n"
"""Milliseconds after which a browser comes again."""

KEPT = 15.0
"""Seconds without a change after which a line says that the stream is alive."""

STALLED: Final = 20.0
"""Seconds in which a reader must take something."""

CHUNK: Final = 64 * 1024
"""Bytes that are sent at once: so many more than the connection wants it may have to hold."""

ASKED: Final = 1.0
"""Seconds after which it is asked again whether its reader may read."""

ENDING: Final = 0.5
"""Seconds in which a reader hears that the server stops."""

log = structlog.get_logger()


class Events(Response, ABC):
    """Server-sent events, one of the streams that the hub has admitted."""

    media_type = MEDIA

    def __init__(self, hub: Hub) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self.still: Callable[[], Awaitable[Any]] | None = None
        """Raises Refusal when its reader may not read any more; None if anybody may."""

    @abstractmethod
    def _parts(self) -> AsyncGenerator[bytes, None]:
        """What is sent, until it is over."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until it is over, the reader has left or may not read, or the server stops."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            self._hub.leave()
            await send(start)
            await send(_body(b"", more=False))
            return
        sending = asyncio.create_task(self._send(send, start))
        left = asyncio.create_task(left_by(receive))
        closed = asyncio.create_task(self._hub.closed.wait())
        refused = asyncio.create_task(self._refused())
        tasks = {sending, left, closed, refused}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                await asyncio.wait({sending, left}, timeout=ENDING, return_when="FIRST_COMPLETED")
        finally:
            self._hub.leave()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not sending.cancelled() and (error := sending.exception()):
            raise error

    async def _refused(self) -> None:
        while self.still is not None:
            await asyncio.sleep(ASKED)
            try:
                await self.still()
            except Refusal:
                return
            except LogError as error:
                log.warning("token_unknown", error=str(error))
        await asyncio.Future()

    async def _send(self, send: Send, start: Message) -> None:
        await send(start)
        try:
            async with aclosing(self._parts()) as parts:
                async for part in parts:
                    for n in range(0, len(part), CHUNK):
                        async with asyncio.timeout(STALLED):
                            await send(_body(part[n : n + CHUNK], more=True))
        except TimeoutError:  # it takes nothing at all, so nothing can be said to it
            self._hub.dropped += 1
            return
        await send(_body(b"", more=False))


class StreamResponse(Events):
    """Everything wanted behind a vector, in order, until the reader leaves or is cut off."""

    def __init__(self, hub: Hub, wanted: Wanted, vector: Vector) -> None:
        super().__init__(hub)
        self._wanted = wanted
        self._vector = vector

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        yield RETRY + marker(str(self._vector))
        subscription: Subscription | None = None
        try:
            nearing = self._hub.nearing(self._wanted, self._vector, KEPT)
            async with aclosing(nearing) as parts:
                async for part in parts:
                    yield part
            subscription, here = self._hub.join(self._wanted)
            lacking = self._hub.between(self._wanted, self._vector, here)
            async with aclosing(lacking) as parts:
                async for part in parts:
                    yield part
            async with aclosing(self._live(subscription)) as parts:
                async for part in parts:
                    yield part
        except (LogError, CodecError) as error:
            log.warning("stream_unreadable", error=str(error))
            yield comment("the archive is away: come again with the Last-Event-ID")
        else:
            yield comment(str(subscription.end and subscription.end.value))
        finally:
            if subscription is not None:
                self._hub.part(subscription)

    async def _live(self, subscription: Subscription) -> AsyncGenerator[bytes, None]:
        while True:
            try:
                async with asyncio.timeout(KEPT):
                    part = await subscription.next()
            except TimeoutError:
                yield subscription.passed() or comment("alive")
                continue
            if not part:
                return
            yield part


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def left_by(receive: Receive) -> None:
    """Wait until who has asked has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
