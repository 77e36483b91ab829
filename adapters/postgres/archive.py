"""The archive: the events of a stream, wherever PostgreSQL has them.

Where PostgreSQL keeps the log, that is its table `events`; where another log is archived, the
view `history` has the same columns.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import asyncpg

from adapters.codec import Codec
from adapters.log import Unavailable
from adapters.postgres.connection import translated
from adapters.postgres.read import read, recorded
from adapters.postgres.statements import load
from domain.envelope import Recorded

SQL = load("archive")
PAGE = 2_000
"""Events that are read at once; folding them must not keep the event loop for long."""

PAGE_BYTES = 1024 * 1024
"""Bytes of data after which no more is read of a page; telling it makes it larger."""


class Archive:
    """Reads events in their order, through a pool whose path has the table."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", codec: Codec) -> None:
        self._pool = pool
        self._codec = codec

    async def events(
        self,
        stream: str,
        after: int = 0,
        *,
        limit: int = 2_000,
        until: int | None = None,
        at: datetime | None = None,
    ) -> Sequence[Recorded]:
        """The next events of a stream behind version *after*, at most *limit*.

        None of them is behind version *until*, or later than *at*. Raises Unavailable, and
        FutureEvent and CodecError as the codec does.
        """
        with translated():
            rows = await self._pool.fetch(SQL["events"], stream, after, limit, until, at)
        return [recorded(row, self._codec) for row in rows]

    async def page(self, partition: int, after: int, limit: int) -> Sequence[Recorded]:
        """The next events of a partition behind sequence *after*, at most *limit*, and bytes.

        Raises Unavailable, Gap, and FutureEvent and CodecError as the codec does.
        """
        with translated():
            async with self._pool.acquire() as connection:
                return await read(connection, self._codec, partition, after, limit, size=PAGE_BYTES)

    async def position(self, partition: int) -> int:
        """The sequence up to which it has all events of a partition."""
        with _there():
            return int(await self._pool.fetchval(SQL["position"], partition) or 0)

    async def of_streams(
        self, streams: Sequence[str], until: int
    ) -> AsyncIterator[Sequence[Recorded]]:
        """The events of these streams up to sequence *until*, each stream's in their order."""
        stream, version = "", 0
        while True:
            with _there():
                rows = await self._pool.fetch(
                    SQL["of_streams"], streams, until, stream, version, PAGE
                )
            if rows:
                yield [recorded(row, self._codec) for row in rows]
                stream, version = rows[-1]["originator_id"], rows[-1]["originator_version"]
            if len(rows) < PAGE:
                return


@contextmanager
def _there() -> Iterator[None]:
    """A view may be dropped, to be folded anew."""
    try:
        with translated():
            yield
    except asyncpg.UndefinedTableError as error:
        raise Unavailable(f"PostgreSQL: {error}") from error
