"""Queries about single attempts, by ticket and token."""

from collections.abc import Collection
from typing import Any, Final

import asyncpg
import msgspec

from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from adapters.postgres.views.rows import read
from projections.rows import Attempt

SQL: Final = load("attempts")


class AttemptQueries:
    """Asks through a pool whose path has the views. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def attempt(self, ticket: str, token: int) -> Attempt | None:
        """The attempt, if the views have it."""
        with translated():
            row = await self._pool.fetchrow(SQL["attempt"], ticket, token)
        return read(Attempt, row) if row else None

    async def newest(self, ticket: str, task: str) -> Attempt | None:
        """The last attempt of a task, if there is one."""
        with translated():
            row = await self._pool.fetchrow(SQL["newest"], ticket, task)
        return read(Attempt, row) if row else None

    async def over(self, attempts: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of them that have ended."""
        if not attempts:
            return set()
        with translated():
            rows = await self._pool.fetch(SQL["over"], *zip(*attempts, strict=True))
        return {(row["ticket"], row["token"]) for row in rows}

    async def parameters(self, ticket: str, task: str) -> dict[str, Any]:
        """What a task says to whoever runs it; nothing if the views do not have it."""
        with translated():
            text = await self._pool.fetchval(SQL["parameters"], ticket, task)
        return msgspec.json.decode(text, type=dict[str, Any]) if text else {}
