"""A schema for a while: a place for a log in somebody's database that leaves nothing behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from adapters.postgres.connection import Address, close, connect, translated


@asynccontextmanager
async def temporary(dsn: str, prefix: str, *, keep: bool = False) -> AsyncIterator[Address]:
    """A new schema, named by the prefix and chance; dropped at the end, unless it is to *keep*.

    Raises Unavailable, at both ends.
    """
    address = Address(dsn, f"{prefix}_{uuid4().hex[:8]}")
    await _execute(address, f'CREATE SCHEMA "{address.schema}"')
    try:
        yield address
    finally:
        if not keep:
            await _execute(address, f'DROP SCHEMA "{address.schema}" CASCADE')


async def _execute(address: Address, statement: str) -> None:
    connection = await connect(address, lock_timeout="5s")
    try:
        with translated():
            await connection.execute(statement)
    finally:
        await close(connection)
