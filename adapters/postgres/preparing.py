"""Tables that are made where they are missing."""

from adapters.postgres.connection import Address, close, connect, translated
from adapters.postgres.statements import schema


async def prepare(address: Address, tables: str) -> None:
    """Make those of `sql/<tables>_tables.sql` in the address's schema. Raises Unavailable."""
    name = address.schema
    connection = await connect(address)
    try:
        with translated():
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", name)
                await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
                await connection.execute(schema(tables))
    finally:
        await close(connection)
