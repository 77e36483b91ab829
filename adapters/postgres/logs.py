"""The logs of attempts: what has come last in PostgreSQL, all before it in the object store.

Each step may be the last one of its process, and is safe to be done again: a chunk is appended
where the log ends, or was there already; a segment's object is made of the same chunks under the
same name, and what says that it is there takes its chunks away in the same transaction.
"""

from asyncio import Semaphore, to_thread
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Final

import asyncpg
import structlog
from cramjam import zstd
from msgspec import Struct

from adapters.log import Unavailable
from adapters.objects import NoObject, Objects
from adapters.postgres.connection import translated
from adapters.postgres.statements import load

SQL: Final = load("logs")

CHUNK: Final = 1024 * 1024
"""Bytes that are appended at once, at most."""

SEGMENT: Final = 1024 * 1024
"""Bytes that make a segment, about: it ends with the chunk with which it has so many."""

STRETCH: Final = 512 * 1024
"""Bytes of chunks that are read at once, and one chunk more."""

BEHIND: Final = 16 * SEGMENT
"""Bytes of a log that may wait for the object store."""

SEALING: Final = 4
"""Segments that a process makes at the same time, each of which takes some memory."""

FAST: Final = 1
GOOD: Final = 6
"""Levels of Zstandard: for what is here for a moment, and for what is kept."""

log = structlog.get_logger()


class LogState(Struct, frozen=True):
    """How long a log is, how long it may be, how much is in segments, and whether it has ended."""

    size: int
    most: int
    sealed: int
    ended: bool


class OutOfPlace(Exception):
    """What was to be appended does not continue the log."""

    def __init__(self, kind: str, end: int, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.end = end
        """Where the log ends."""


class TooLong(Exception):
    """The log has as many bytes as it may have."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"it would have {size} bytes of {most}")
        self.size = size
        self.most = most


class Logs:
    """Logs by ticket and token, through a pool whose path has the tables. Raises Unavailable."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", objects: Objects, channel: str
    ) -> None:
        self._pool = pool
        self._objects = objects
        self._turn = Semaphore(SEALING)
        self.channel = channel
        """What rings when a log has changed, with `ticket/token`."""

    async def append(
        self,
        ticket: str,
        token: int,
        task: str,
        start: int,
        data: bytes,
        *,
        last: bool = False,
        most: int,
    ) -> LogState:
        """Append to the log, whose first bytes these are or which ends at *start*.

        What is there already is not appended again, but must be the same. A new log may have *most*
        bytes. Raises OutOfPlace and TooLong.
        """
        while True:
            packed = await _packed(data, FAST)
            with translated():
                moved = await self._pool.fetchrow(
                    *(SQL["append"], ticket, token, task, start, len(data), packed, last, most),
                    self.channel,
                )
            if moved is not None:
                state = LogState(*list(moved)[:4])
                await self._keep_small(ticket, token, state)
                return state
            state = await self.state(ticket, token) or LogState(0, most, 0, ended=False)
            known = await self._known(ticket, token, start, data, state)
            if known == len(data) and (state.ended or not last):
                return state
            if state.ended:
                raise OutOfPlace("log-ended", state.size, f"the log has ended at {state.size}")
            if state.size - known + len(data) > state.most:
                raise TooLong(state.size - known + len(data), state.most)
            start, data = start + known, data[known:]

    async def _known(
        self, ticket: str, token: int, start: int, data: bytes, state: LogState
    ) -> int:
        """How many of the bytes are there already. Raises OutOfPlace if they are others."""
        if start > state.size:
            why = f"the log ends at {state.size}, and something is missing before {start}"
            raise OutOfPlace("log-gap", state.size, why)
        known = min(len(data), state.size - start)
        at = 0
        async for piece in self.read(ticket, token, start, start + known):
            if data[at : at + len(piece)] != piece:
                why = f"the log has other bytes from {start} on; it ends at {state.size}"
                raise OutOfPlace("log-differs", state.size, why)
            at += len(piece)
        return known

    async def state(self, ticket: str, token: int) -> LogState | None:
        """How far the log is; None if nobody has said anything."""
        with translated():
            row = await self._pool.fetchrow(SQL["state"], ticket, token)
        return LogState(*row) if row else None

    async def read(
        self, ticket: str, token: int, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from *start* up to *end*, which are there, in pieces."""
        at = start
        while at < end:
            upto = min(end, at + STRETCH)
            with translated():
                rows = await self._pool.fetch(SQL["pieces"], ticket, token, at, upto, CHUNK)
            before = at
            for row in rows:
                first, size = row["start"], row["size"]
                if not first <= at < min(end, first + size):
                    continue
                packed = row["data"]
                if packed is None:
                    packed = await self._object(row["object"])
                piece = await _unpacked(packed, size)
                yield piece[at - first : end - first]
                at = min(end, first + size)
            if at == before:
                raise Unavailable(f"the log of {ticket}/{token} has a hole at {at}")

    async def _object(self, name: str) -> bytes:
        try:
            return await self._objects.read(name)
        except NoObject as error:
            raise Unavailable(f"the object store has lost {name}") from error

    async def _keep_small(self, ticket: str, token: int, state: LogState) -> None:
        """Seal what is enough for a segment. Raises Unavailable if too much waits for that."""
        if not state.ended and state.size - state.sealed < SEGMENT:
            return
        try:
            await self.seal(ticket, token)
        except Unavailable as error:
            if state.size - state.sealed > BEHIND:
                raise
            log.warning("log_not_sealed", ticket=ticket, token=token, error=str(error))

    async def seal(self, ticket: str, token: int) -> None:
        """Move to the object store what makes segments; of a log that has ended, everything."""
        while True:
            with translated():
                row = await self._pool.fetchrow(SQL["sealing"], ticket, token)
            if row is None or row["settled"]:
                return
            if row["size"] - row["sealed"] < SEGMENT and not row["ended"]:
                return
            if row["size"] == row["sealed"]:
                with translated():
                    await self._pool.execute(SQL["settle"], ticket, token)
                return
            start = row["sealed"]
            name = f"logs/{row['id'].hex}/{row['segments']:06}.zst"
            async with self._turn:
                await self._segment(ticket, token, start, name)

    async def _segment(self, ticket: str, token: int, start: int, name: str) -> None:
        """Make the next segment, unless somebody else was quicker."""
        with translated():
            chunks = await self._pool.fetch(SQL["chunks"], ticket, token, start, start + SEGMENT)
        if chunks:
            data = b"".join([await _unpacked(one["data"], one["size"]) for one in chunks])
            await self._objects.put(name, await _packed(data, GOOD))
            with translated():
                await self._pool.execute(SQL["seal"], ticket, token, start, len(data), name)

    async def end(self, ticket: str, token: int) -> None:
        """Let nothing follow, as nobody is there any more who could say it."""
        with translated():
            await self._pool.execute(SQL["end"], ticket, token, self.channel)

    async def unsettled(
        self, quiet: timedelta, after: tuple[str, int] = ("", 0), limit: int = 100
    ) -> Sequence[tuple[str, int, bool]]:
        """Ticket and token of logs that have not changed for so long, and whether they have ended.

        Those behind *after*, in their order.
        """
        with translated():
            rows = await self._pool.fetch(SQL["unsettled"], quiet, *after, limit)
        return [(row["ticket"], row["token"], row["ended"]) for row in rows]


ALONE: Final = 64 * 1024
"""Bytes up to which a thread costs more than the work."""


async def _packed(data: bytes, level: int) -> bytes:
    if len(data) > ALONE:
        return bytes(await to_thread(zstd.compress, data, level))
    return bytes(zstd.compress(data, level))


async def _unpacked(data: bytes, size: int) -> bytes:
    if size > ALONE:
        return bytes(await to_thread(zstd.decompress, data, size))
    return bytes(zstd.decompress(data, size))
