"""A schema for a while: a place for a log in somebody's database that leaves nothing behind.

With it go those of the views beside it, which are named after it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import asyncpg

from adapters.postgres.connection import Address, close, connect, translated


@asynccontextmanager
async def temporary(dsn: str, prefix: str, *, keep: bool = False) -> AsyncIterator[Address]:
    """A new schema, named by the prefix and chance; dropped at the end, unless it is to *keep*.

    Raises Unavailable, at both ends.
    """
    address = Address(dsn, f"{prefix}_{uuid4().hex[:8]}")
    async with _connected(address) as connection:
        await connection.execute(f'CREATE SCHEMA "{address.schema}"')
    try:
        yield address
    finally:
        if not keep:
            async with _connected(address) as connection:
                for row in await connection.fetch(_OURS, address.schema):
                    await connection.execute(f'DROP SCHEMA "{row["nspname"]}" CASCADE')


_OURS: Final = """
SELECT nspname FROM pg_namespace WHERE nspname = $1 OR starts_with(nspname, $1 || '_')
"""


@asynccontextmanager
async def _connected(address: Address) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await connect(address, lock_timeout="5s")
    try:
        with translated():
            yield connection
    finally:
        await close(connection)
