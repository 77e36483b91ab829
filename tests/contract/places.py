"""Where a log can be, and how to do there what no well-behaved process would."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import asyncpg

from adapters.codec import Codec
from adapters.log import Log, Membership, Owner
from adapters.postgres.connection import Address, connect
from adapters.postgres.log import open_log
from tests.contract.counter import CODEC

LEASE = 0.9


class Place(Protocol):
    """One log of its own, on a real server."""

    def open(
        self,
        partitions: int | None = None,
        *,
        codec: Codec = CODEC,
        clock_ahead: timedelta = timedelta(),
    ) -> AbstractAsyncContextManager[Log]:
        """A process's view of the log."""
        ...

    def stalled_before_commit(self) -> AbstractAsyncContextManager[None]:
        """Commits that begin meanwhile are stuck before their first write."""
        ...

    def stalled_inside_commit(
        self, partition: int, sequence: int
    ) -> AbstractAsyncContextManager[None]:
        """A commit that writes this sequence is stuck between its writes."""
        ...

    async def commit_before_take(
        self, commit: Callable[[], Awaitable[None]], take: Callable[[], Awaitable[Owner]]
    ) -> Owner:
        """The take begins while the commit is under way, and the commit is done first."""
        ...

    async def fence(self, partition: int) -> None:
        """Fence the owner, as a successor does that takes nothing."""
        ...

    async def put_command(self, partition: int, **fields: Any) -> None:
        """Put a command as it is into an inbox, whatever it is."""
        ...

    async def put_event(self, partition: int, topic: str, form: int) -> None:
        """Append an event of this type, as another version of the engine would."""
        ...

    async def lose_event(self, partition: int, sequence: int) -> None:
        """Damage the log."""
        ...

    async def dead_letters(self) -> list[tuple[int, str]]:
        """Partition and reason of each."""
        ...


class PostgresPlace:
    """A schema of its own in the session's PostgreSQL."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def open(
        self,
        partitions: int | None = None,
        *,
        codec: Codec = CODEC,
        clock_ahead: timedelta = timedelta(),
    ) -> AbstractAsyncContextManager[Log]:
        return open_log(
            self.address,
            codec,
            partitions=partitions,
            lease=LEASE,
            clock=lambda: datetime.now(UTC) + clock_ahead,
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await connect(self.address)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def stalled_before_commit(self) -> AsyncIterator[None]:
        async with self.connected() as connection, connection.transaction():
            await connection.execute("LOCK TABLE events IN SHARE MODE")
            yield

    @asynccontextmanager
    async def stalled_inside_commit(self, partition: int, sequence: int) -> AsyncIterator[None]:
        async with self.connected() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                "INSERT INTO events (partition, sequence, originator_id, originator_version,"
                " topic, state) VALUES ($1, $2, 'in the way', 1, '', '')",
                partition,
                sequence,
            )
            try:
                yield
            finally:
                await transaction.rollback()

    async def commit_before_take(
        self, commit: Callable[[], Awaitable[None]], take: Callable[[], Awaitable[Owner]]
    ) -> Owner:
        async with self.connected() as connection:
            async with connection.transaction():
                await connection.execute("SELECT FROM partitions FOR UPDATE")
                committing = asyncio.ensure_future(commit())
                await self._waiting(1)
                taking = asyncio.ensure_future(take())
                await self._waiting(2)
            await committing
            return await taking

    async def _waiting(self, count: int) -> None:
        """Until so many statements wait for a row of this log."""
        async with self.connected() as connection:
            while count > await connection.fetchval(
                "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN ("
                " SELECT pid FROM pg_locks WHERE relation = 'partitions'::regclass)"
            ):
                await asyncio.sleep(0.005)

    async def fence(self, partition: int) -> None:
        async with self.connected() as connection:
            await connection.execute(
                "UPDATE partitions SET epoch = epoch + 1, owner = NULL, owned_till = '-infinity'"
                " WHERE partition = $1",
                partition,
            )

    async def put_command(self, partition: int, **fields: Any) -> None:
        given = {
            "id": uuid4(),
            "stream": "counter/1",
            "topic": "test.count",
            "schema": 1,
            "actor": "a test",
            "reply_to": None,
            "data": b"{}",
        } | fields
        async with self.connected() as connection, connection.transaction():
            position = await connection.fetchval(
                "UPDATE inboxes SET position = position + 1 WHERE partition = $1"
                " RETURNING position",
                partition,
            )
            await connection.execute(
                "INSERT INTO commands (partition, position, at, id, stream, topic, schema, actor,"
                " reply_to, data) VALUES ($1, $2, now(), $3, $4, $5, $6, $7, $8, $9)",
                partition,
                position,
                *given.values(),
            )

    async def put_event(self, partition: int, topic: str, form: int) -> None:
        async with self.connected() as connection, connection.transaction():
            sequence = await connection.fetchval(
                "UPDATE partitions SET sequence = sequence + 1 WHERE partition = $1"
                " RETURNING sequence",
                partition,
            )
            await connection.execute(
                "INSERT INTO events (partition, sequence, originator_id, originator_version, topic,"
                " schemaversion, id, causationid, time, actor, state)"
                " VALUES ($1, $2, $3, 1, $4, $5, $6, $7, now(), 'a test', '{}')",
                partition,
                sequence,
                f"counter/new-{uuid4().hex}",
                topic,
                form,
                uuid4(),
                uuid4(),
            )

    async def lose_event(self, partition: int, sequence: int) -> None:
        async with self.connected() as connection:
            await connection.execute(
                "DELETE FROM events WHERE partition = $1 AND sequence = $2", partition, sequence
            )

    async def dead_letters(self) -> list[tuple[int, str]]:
        async with self.connected() as connection:
            rows = await connection.fetch(
                "SELECT partition, reason FROM dead_letters ORDER BY partition, position"
            )
        return [(row["partition"], row["reason"]) for row in rows]


async def taken(membership: Membership, partition: int) -> Owner:
    """Own the partition as soon as it is granted."""
    while partition not in await membership.granted():
        pass
    return await membership.take(partition)
