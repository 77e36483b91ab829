"""What a task that runs says of itself, with the credential of its attempt: log and artifacts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar
from uuid import uuid4

import httpx
import msgspec
from msgspec import Struct

from .client import PATIENCE
from .closing import Closing
from .connection import LATER, Connection, Waits, path
from .errors import NotFound, Refused, TurnstileError, Unavailable
from .logs import pieces
from .rows import Accepted
from .workflow import encode_value
from .working import Reported

T = TypeVar("T")

PIECE: Final = 256 * 1024
"""Bytes of a file that are read at once."""


class Appended(Struct, frozen=True):
    """Where the log `end`s now, and how much a task may say: beyond `limit` is room for marks."""

    end: int
    limit: int


class Stored(Struct, frozen=True):
    """What is there now."""

    digest: str
    size: int


class AttemptClient(Closing):
    """One attempt and what it may do, as long as it has its lease.

    Raises:
        Conflict: the attempt has its lease no more (`stale-token`), or the log is another.
        Refused: for another reason.
        Unanswered: nobody has answered for `patience` seconds.
    """

    def __init__(
        self,
        base_url: str | None,
        credential: str,
        ticket: str,
        token: int,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._connection = Connection(base_url, credential, patience)
        self._log = path("tickets", ticket, "attempts", str(token), "log")
        self._report = path("tickets", ticket, "attempts", str(token), "report")

    async def close(self) -> None:
        """End its connections."""
        await self._connection.close()

    async def append_log(self, start: int, data: bytes, last: bool = False) -> Appended:
        """Append to the log, which ends at *start*; the same again changes nothing.

        Without any bytes at 0 it tells how long the log may be. Raises TooLarge beyond that.
        """
        query = {"start": start, "last": str(last).lower()}

        async def append() -> Appended:
            return await self._sent("PUT", self._log, Appended, query, lambda: data)

        return await self._tried(append)

    async def report(self, reported: Reported) -> Accepted:
        """The attempt is over; the same again is no harm."""
        said = {
            name: getattr(reported, name)
            for name in Reported.__struct_fields__
            if name not in ("ticket", "task", "token")
        }
        body = encode_value(said)
        return await self._connection.ask("POST", self._report, Accepted, body=body, key=uuid4())

    async def has_artifact(self, digest: str) -> bool:
        """Whether it is there already."""
        try:
            await self._tried(lambda: self._sent("HEAD", path("artifacts", digest), None))
        except NotFound:
            return False
        return True

    async def put_artifact(self, digest: str, file: Path) -> Stored:
        """Store a file, whose digest this is. Raises Invalid if it has another."""
        artifact = path("artifacts", digest)
        return await self._tried(
            lambda: self._sent("PUT", artifact, Stored, None, lambda: _read(file))
        )

    async def get_artifact(self, digest: str, file: Path) -> None:
        """Have it as a file, which is there whole or not at all; its folder must be there.

        Raises TurnstileError if what comes is not what the digest says.
        """
        part = file.with_name(f".{token_hex(8)}.part")  # nobody's name, and no link's
        hashed = sha256()
        try:
            with await asyncio.to_thread(part.open, "xb") as open_file:
                async for piece in pieces(self._connection, path("artifacts", digest)):
                    hashed.update(piece)
                    await asyncio.to_thread(open_file.write, piece)
            if digest != f"sha256:{hashed.hexdigest()}":
                raise TurnstileError(f"what came for {digest} is sha256:{hashed.hexdigest()}")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    async def _sent(
        self,
        method: str,
        of: str,
        kind: type[T] | None,
        query: dict[str, Any] | None = None,
        body: Callable[[], bytes | AsyncIterator[bytes]] | None = None,
    ) -> T:
        answered = self._connection.streaming(
            method, of, query=query, body=body() if body else None, headers=_BYTES
        )
        async with answered as answer:
            content = await answer.aread()
        try:
            return msgspec.json.decode(content, type=kind) if kind else None  # type: ignore[return-value] # what has no kind is not looked at
        except (msgspec.MsgspecError, ValueError) as error:
            raise TurnstileError(f"{of} gave no answer of Turnstile's: {error}") from error

    async def _tried(self, asking: Callable[[], Awaitable[T]]) -> T:
        waits = Waits(self._connection.patience)
        while True:
            at_least = None
            try:
                return await asking()
            except Refused as refused:
                if refused.problem.status not in (*LATER, *_AGAIN):
                    raise
                at_least, reason = refused.retry_after, str(refused)
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            if not await waits.wait(at_least):
                raise Unavailable(f"{self._connection.url}: {reason}")


_BYTES: Final = {"content-type": "application/octet-stream"}
_AGAIN: Final = (408, 429)
"""Statuses that may be others in a moment, beside those of a server that is away."""


async def _read(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as open_file:
        while piece := await asyncio.to_thread(open_file.read, PIECE):
            yield piece
