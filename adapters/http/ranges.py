"""Parts of what is large: one range of its bytes (RFC 9110, 14), or nothing where it is known."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final

import structlog
from msgspec import Struct
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from adapters.http.live.response import CHUNK, STALLED, left_by
from adapters.http.problems import Refusal
from adapters.log import LogError

HEADERS: Final = ("Range", "If-Range", "If-None-Match")
"""What may be asked of an endpoint that answers in ranges."""

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII).fullmatch

SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What somebody's task has written is no page of ours, whatever it looks like."""

DOWNLOADS: Final = 64
"""Answers of this kind that a process gives at the same time: each holds a piece in memory."""

log = structlog.get_logger()


class Downloads:
    """Counts answers under way; at most so many."""

    def __init__(self, most: int = DOWNLOADS) -> None:
        self._most = most
        self._count = 0

    def admit(self) -> None:
        """One more, which must be left. Raises Refusal if there are too many."""
        if self._count >= self._most:
            raise Refusal(
                429,
                "too-many",
                f"This server gives {self._most} such answers, and no more.",
                headers={"Retry-After": "1"},
            )
        self._count += 1

    def leave(self) -> None:
        """One is over."""
        self._count -= 1


class Part(Struct, frozen=True):
    """The bytes from `start` up to `end`."""

    start: int
    end: int


def part_of(size: int, tag: str, range_: str | None, if_range: str | None) -> Part | None:
    """The part that is asked for; None for all. Raises Refusal if there is no such part.

    Several parts at once, or other units, are not understood, which is as if nothing were said.
    """
    found = _RANGE(range_) if range_ is not None else None
    if found is None or (if_range is not None and if_range != tag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start = int(first)
        end = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise Refusal(
            416,
            "no-such-part",
            f"There are {size} bytes, none of {range_!r}.",
            "Range",
            {"Content-Range": f"bytes */{size}"},
        )
    return Part(start, end)


class Ranged(Response):
    """A part of so many bytes, or all of them, read as they are sent by *read*(start, end)."""

    def __init__(
        self,
        downloads: Downloads,
        read: Callable[[int, int], AsyncGenerator[bytes, None]],
        size: int,
        tag: str,
        media: str,
        *,
        range_: str | None = None,
        if_range: str | None = None,
        if_none_match: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        told = {"ETag": tag, "Accept-Ranges": "bytes", **SAFE, **(headers or {})}
        self._downloads = downloads
        self._read = read
        self._part = Part(0, 0)
        if if_none_match is not None and _is_among(tag, if_none_match):
            super().__init__(None, 304, told)
            downloads.admit()
            return
        part = part_of(size, tag, range_, if_range)
        self._part = part or Part(0, size)
        if part is not None:
            told["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
        told["Content-Length"] = str(self._part.end - self._part.start)
        # Without a charset, of which nobody knows anything.
        told["Content-Type"] = media
        super().__init__(None, 206 if part is not None else 200, told)
        downloads.admit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; who takes nothing for some time is not waited for, nor who has hung up."""
        is_asked = scope["method"] != "HEAD" and self._part.end > self._part.start
        start = {"type": "http.response.start", "status": self.status_code}
        try:
            await send({**start, "headers": self.raw_headers})
            if is_asked and not await self._sent(receive, send):
                return
        except (TimeoutError, LogError) as error:
            # It has begun, so that it is not whole can only be told by the connection.
            log.warning("answer_broken_off", error=str(error) or "nobody takes it")
            return
        finally:
            self._downloads.leave()
        await send(_body(b"", more=False))

    async def _sent(self, receive: Receive, send: Send) -> bool:
        """Whether it was sent before its reader hung up, to whom one could send for ever."""
        sending = asyncio.create_task(self._send(send))
        left = asyncio.create_task(left_by(receive))
        try:
            await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_sent = sending.done()
            for task in (sending, left):
                task.cancel()
            await asyncio.wait({sending, left})
        if is_sent:
            await sending
        return is_sent

    async def _send(self, send: Send) -> None:
        async with aclosing(self._read(self._part.start, self._part.end)) as pieces:
            async for piece in pieces:
                for at in range(0, len(piece), CHUNK):
                    async with asyncio.timeout(STALLED):
                        await send(_body(piece[at : at + CHUNK], more=True))


def _is_among(tag: str, tags: str) -> bool:
    return tags.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in tags.split(",")]


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
