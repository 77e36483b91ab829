"""What is due, as the views of tickets have it: deadlines, and stages that last too long."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from adapters.postgres.connection import Address, open_pool, translated
from adapters.postgres.leases import paths
from adapters.postgres.statements import load
from adapters.postgres.views.view import address_of
from domain.envelope import Submitted
from domain.policy import expiry, timeout
from domain.ticket.automata import TaskState
from projections.due import LIMITS

SQL: Final = load("due")
PAGE: Final = 1_000
"""Rows that are read at once."""

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@asynccontextmanager
async def open_due(database: Address) -> AsyncIterator["DueQueries"]:
    """What is due in the views beside the log at an address."""
    async with open_pool(address_of(database, "tickets"), 1, search_path=paths(database)) as pool:
        yield DueQueries(pool)


class DueQueries:
    """Asks through a pool whose path has leases and tickets. By the database's clock: that advises.

    Tickets that could not be folded are left out: their rows do not change any more. What is under
    way is not due as long as its worker may not have been able to say how it goes.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def due(self) -> AsyncGenerator[Submitted, None]:
        """The commands that say so, what is due longest first. Raises Unavailable."""
        async for row in self._rows("tickets", (_BEGINNING, ""), ("deadline", "ticket")):
            yield expiry(row["ticket"], row["deadline"])
        async for row in self._rows("tasks", (_BEGINNING, "", ""), ("due", "ticket", "task")):
            limit = LIMITS[TaskState(row["state"])]
            yield timeout(row["ticket"], row["task"], limit, row["token"], row["due"])

    async def _rows(
        self, statement: str, after: tuple[Any, ...], key: tuple[str, ...]
    ) -> AsyncGenerator[asyncpg.Record, None]:
        while True:
            with translated():
                rows = await self._pool.fetch(SQL[statement], *after, PAGE)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            after = tuple(rows[-1][column] for column in key)
