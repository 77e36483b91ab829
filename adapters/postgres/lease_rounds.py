"""What a reaper does about leases in each round: mark what has run out, and say so to the tickets.

First a row is marked, and from then on no heartbeat extends it; then its ticket is told to end the
attempt, again and again, until the event of that has removed the row. So whatever happens between
the two, nothing is lost. The mark is one statement, and does not believe in silence when nobody
could hear: see `sql/leases.sql`. In the same way workers are told that nobody hears of them.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg
import structlog

from adapters.postgres.connection import Address, open_pool, translated
from adapters.postgres.leases import GAP, paths
from adapters.postgres.statements import load
from adapters.postgres.views.view import address_of
from domain.envelope import Submitted
from domain.policy import lost_lease, missed

SQL: Final = load("leases")

HANDFUL: Final = 5
"""Leases that may always be lost at once: of more than these no more than a third."""

KEPT: Final = timedelta(days=7)
"""For how long gaps are kept; the last ones always."""

WORKER_LEASE: Final = 30.0
"""Seconds after which a worker that was not heard of is gone."""

RAN_OUT: Final = "the lease ran out"

log = structlog.get_logger()


@asynccontextmanager
async def open_lease_rounds(
    database: Address, *, gap: float = GAP, worker_lease: float = WORKER_LEASE
) -> AsyncIterator["LeaseRounds"]:
    """The rounds over the leases beside the log at an address."""
    path = paths(database)
    async with open_pool(address_of(database, "leases"), 1, search_path=path) as pool:
        yield LeaseRounds(pool, gap=gap, worker_lease=worker_lease)


class LeaseRounds:
    """Asks through a pool whose path has leases and tickets. Raises Unavailable."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        *,
        gap: float = GAP,
        worker_lease: float = WORKER_LEASE,
    ) -> None:
        self._pool = pool
        self._gap = timedelta(seconds=gap)
        self._worker_lease = timedelta(seconds=worker_lease)

    async def due(self) -> AsyncGenerator[Submitted, None]:
        """One round: the commands that end attempts whose leases are lost, and silent workers."""
        with translated():
            await self._pool.execute(SQL["round"], self._gap, KEPT)
        await self.mark()
        with translated():
            await self._pool.execute(SQL["forget"])
            rows = await self._pool.fetch(SQL["marked"])
            silent = await self._pool.fetch(SQL["silent"], self._worker_lease)
        for row in rows:
            yield lost_lease(row["ticket"], row["task"], row["token"], row["reason"])
        for row in silent:
            yield missed(row["worker"], row["session"], row["at"])

    async def mark(self) -> int:
        """Mark what has run out; how many those are."""
        with translated():
            row = await self._pool.fetchrow(SQL["mark"], HANDFUL, RAN_OUT)
        assert row is not None
        if row["silent"] is not None:
            log.error("leases_silent_together", silent=row["silent"], open=row["open"])
        elif row["marked"]:
            log.info("leases_ran_out", leases=row["marked"])
        return int(row["marked"])
