"""Snapshots in PostgreSQL, in a schema of their own; see `sql/snapshots_tables.sql`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import blake2b

import asyncpg

from adapters.log import Unavailable
from adapters.postgres.connection import Address, close, connect, open_pool, translated
from adapters.postgres.statements import load, schema
from adapters.snapshots import Beginning, Complete, Damaged, End

SQL = load("snapshots")
POOL = 2
"""Connections for all partitions together: a snapshot is in no hurry."""


@asynccontextmanager
async def open_snapshots(address: Address) -> AsyncIterator["PostgresSnapshots"]:
    """The snapshots at an address, made if there are none. Raises Unavailable."""
    await _prepare(address)
    async with open_pool(address, POOL) as pool:
        yield PostgresSnapshots(pool)


async def _prepare(address: Address) -> None:
    name = address.schema
    connection = await connect(address)
    try:
        with translated():
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", name)
                if not await connection.fetchval(SQL["are_there"], name):
                    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
                    await connection.execute(schema("snapshots"))
    finally:
        await close(connection)


class PostgresSnapshots:
    """Snapshots as rows."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def begin(self, beginning: Beginning) -> int:
        """A new snapshot; its number."""
        of = beginning
        with _away():
            return int(
                await self._pool.fetchval(
                    SQL["begin"], of.partition, of.log, of.form, of.sequence, of.event
                )
            )

    async def add(self, snapshot: int, n: int, data: bytes) -> None:
        """Its *n*-th part."""
        with _away():
            await self._pool.execute(SQL["add"], snapshot, n, _digest(snapshot, n, data), data)

    async def finish(self, snapshot: int, end: End) -> None:
        """All parts are there. Earlier snapshots of the partition go."""
        with _away():
            await self._pool.fetchval(
                SQL["finish"],
                snapshot,
                end.sequence,
                end.event,
                end.evicted,
                end.quarantined,
                end.parts,
            )
            await self._pool.execute(SQL["forget"], snapshot)

    async def latest(self, partition: int) -> Complete | None:
        """The one that was begun last, of those that are complete."""
        with _away():
            row = await self._pool.fetchrow(SQL["latest"], partition)
        if row is None:
            return None
        number, log, form, sequence, event, until, last, evicted, quarantined, parts = row
        return Complete(
            id=number,
            beginning=Beginning(partition, log, form, sequence, event),
            end=End(until, last, evicted, quarantined, parts),
        )

    async def parts(self, snapshot: Complete) -> AsyncIterator[bytes]:
        """Its parts in their order. Raises Damaged."""
        for n in range(snapshot.end.parts):
            with _away():
                row = await self._pool.fetchrow(SQL["part"], snapshot.id, n)
            if row is None:
                raise Damaged(f"part {n} of {snapshot.end.parts} is not there")
            digest, data = row
            if digest != _digest(snapshot.id, n, data):
                raise Damaged(f"part {n} of {snapshot.end.parts} is not what was written")
            yield data


@contextmanager
def _away() -> Iterator[None]:
    """Whatever is wrong with the place of a cache, the cache is away."""
    try:
        with translated():
            yield
    except asyncpg.PostgresError as error:
        raise Unavailable(f"PostgreSQL: {error}") from error


def _digest(snapshot: int, n: int, data: bytes) -> bytes:
    return blake2b(data, digest_size=16, person=f"{snapshot}/{n}".encode()[-16:]).digest()
