"""Logs and artifacts as they are read: in pieces, going on where a connection was lost."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from .connection import LATER, Connection, Waits
from .errors import Refused, TooMany, TurnstileError, Unavailable
from .stream import SILENCE, messages

NO_PART: Final = 416
"""The status that says that there is nothing where one asks."""


class LogPart(Struct, frozen=True, omit_defaults=True):
    """Bytes of the log from `start` on, in Base64; with the last of them the log has `ended`."""

    start: int
    data: bytes = b""
    ended: bool = False


_decode: Final = msgspec.json.Decoder(LogPart).decode


async def pieces(connection: Connection, of: str, start: int = 0) -> AsyncGenerator[bytes, None]:
    """The bytes from *start* on; a negative one counts from the end.

    Raises Refused and Unavailable.
    """
    waits, tag, at = Waits(connection.patience), "", start
    while True:
        at_least = None
        headers = {"accept": "*/*", "accept-encoding": "identity"}
        if at:
            headers["range"] = f"bytes={at}-" if at > 0 else f"bytes={at}"
        if at > 0 and tag:
            headers["if-range"] = tag
        try:
            async with connection.streaming("GET", of, headers=headers) as answer:
                at, tag = _begins(answer, at), answer.headers.get("etag", "")
                async for piece in answer.aiter_raw():
                    yield piece
                    at += len(piece)
                    waits.begin_anew()
                return
        except Refused as refused:
            if refused.problem.status == NO_PART:
                return
            if refused.problem.status not in LATER and not isinstance(refused, TooMany):
                raise
            at_least, reason = refused.retry_after, str(refused)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        if not await waits.wait(at_least):
            raise Unavailable(f"{connection.url}: {reason}")


def _begins(answer: httpx.Response, asked: int) -> int:
    """Where an answer begins. Raises TurnstileError if that is not where it was to go on."""
    said = answer.headers.get("content-range", "bytes 0-").removeprefix("bytes ").partition("-")[0]
    begins = int(said) if said.isdecimal() else 0
    if asked > 0 and begins != asked:
        raise TurnstileError(f"{answer.request.url} has changed while it was read")
    return begins


async def size_of(connection: Connection, of: str) -> int:
    """How many bytes there are. Raises Refused and Unavailable."""
    waits = Waits(connection.patience)
    while True:
        try:
            async with connection.streaming("HEAD", of) as answer:
                return int(answer.headers["content-length"])
        except Refused as refused:
            if refused.problem.status not in LATER:
                raise
            at_least, reason = refused.retry_after, str(refused)
        except httpx.TransportError as error:
            at_least, reason = None, str(error) or type(error).__name__
        if not await waits.wait(at_least):
            raise Unavailable(f"{connection.url}: {reason}")


async def followed(
    connection: Connection, stream: str, start: int = 0
) -> AsyncGenerator[bytes, None]:
    """The log from *start* on, as it grows, until it has ended. Raises Refused and Unavailable."""
    waits, at = Waits(connection.patience), start
    while True:
        at_least = None
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "cache-control": "no-store",
            "last-event-id": str(at),
        }
        try:
            streaming = connection.streaming("GET", stream, headers=headers, silence=SILENCE)
            async with streaming as answer, aclosing(messages(answer)) as read:
                async for message in read:
                    waits.begin_anew()
                    if not message.data:
                        continue
                    part = _decode(message.data)
                    at = part.start + len(part.data)
                    if part.data:
                        yield part.data
                    if part.ended:
                        return
            reason = "it ends before the log does"
        except Refused as refused:
            if refused.problem.status not in LATER and not isinstance(refused, TooMany):
                raise
            at_least, reason = refused.retry_after, str(refused)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        if not await waits.wait(at_least):
            raise Unavailable(f"{connection.url}: {reason}")
