"""Tokens in PostgreSQL, in a schema of their own beside the log's."""

from datetime import timedelta
from secrets import token_bytes, token_hex
from time import monotonic
from typing import Final

import asyncpg
import msgspec

from adapters.access import Identity, Scope, Token, digest, new_token
from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from domain.ticket.commands import Instant
from projections.queries import Page, Word, cursor, place

SQL: Final = load("access")

FRESH: Final = 1.0
"""Seconds for which what is known of a token is believed: one that is revoked may live so long."""

MOST: Final = 10_000
"""Tokens that are remembered, good ones and others."""

LOCAL: Final = "local"
"""Who has the token that is made at the first start."""


class Tokens:
    """Asks through a pool whose path has the tables. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._known: dict[bytes, tuple[float, Identity | None]] = {}

    async def identity(self, token: str) -> Identity | None:
        """Whose the token is; None if it is nobody's, or not any more."""
        key, now = digest(token), monotonic()
        until, identity = self._known.get(key, (0.0, None))
        if until > now:
            return identity
        with translated():
            row = await self._pool.fetchrow(SQL["known"], key)
        identity = Identity(row["name"], frozenset(map(Scope, row["scopes"]))) if row else None
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = now + FRESH, identity
        return identity

    async def make(
        self, name: str, scopes: tuple[Scope, ...], by: str, days: float | None = None
    ) -> tuple[Token, str]:
        """A new token, and what its holder is given, which cannot be read again."""
        secret = new_token()
        lasts = None if days is None else timedelta(days=days)
        with translated():
            row = await self._pool.fetchrow(
                SQL["make"], token_hex(6), name, digest(secret), list(scopes), by, lasts
            )
        assert row is not None
        return _token(row), secret

    async def make_first(self, secret: str) -> bool:
        """Let this be a token that may do everything, if nobody has one; say whether it is."""
        with translated():
            made = await self._pool.fetchval(
                SQL["make_first"], token_hex(6), LOCAL, digest(secret), list(Scope)
            )
        return made is not None

    async def page(self, limit: int, after: str | None) -> Page[Token]:
        """Tokens, newest first. Raises Invalid if the cursor is none."""
        at, id_ = place(after, tuple[Instant, Word]) if after else (None, None)
        with translated():
            rows = await self._pool.fetch(SQL["page"], limit + 1, at, id_)
        tokens = [_token(row) for row in rows]
        if len(tokens) <= limit:
            return Page(tokens)
        last = tokens[limit - 1]
        return Page(tokens[:limit], cursor((last.created_at, last.id)))

    async def revoke(self, id_: str, by: str) -> Token | None:
        """Have it good for nothing any more; None if there is no such token."""
        with translated():
            row = await self._pool.fetchrow(SQL["revoke"], id_, by)
        self._known.clear()
        return _token(row) if row else None


async def signing_key(pool: "asyncpg.Pool[asyncpg.Record]", name: str) -> bytes:
    """The key of this name, the same for all who ask. Raises Unavailable."""
    while True:  # whoever was first may not have committed yet
        with translated():
            key = await pool.fetchval(SQL["key"], name, token_bytes(32))
        if key is not None:
            return bytes(key)


def _token(row: "asyncpg.Record") -> Token:
    return msgspec.convert(dict(row), Token)
