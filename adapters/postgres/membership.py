"""Engines that share the partitions evenly: rows with a lease that each owner renews.

Every member looks at the same rows and knows its quota: with P partitions and M members in the
order of their names the first P mod M have one more than the others. Who has too many gives some
back, who has too few takes those that are free. An advisory lock would survive a paused owner; a
row's lease does not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import structlog

from adapters.codec import Codec
from adapters.log import ClockAhead, Fenced, Genesis, Unavailable
from adapters.postgres.connection import Address, Bell, close, connect, translated
from adapters.postgres.owner import PostgresOwner
from adapters.postgres.statements import load

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("log")
CLOCK_AHEAD = timedelta(seconds=2)
"""By which no clock may be ahead of the server's."""

PATIENCE = 0.5
"""Seconds to wait for an owner that is inside its commit."""

log = structlog.get_logger()


class PostgresMembership:
    """One engine of the log, as long as it renews its row."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        bell: Bell,
        genesis: Sequence[Genesis],
        name: str,
        lease: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.member = f"{name}-{uuid4().hex[:8]}"
        self._address = address
        self._codec = codec
        self._bell = bell
        self._genesis = genesis
        self._lease = timedelta(seconds=lease)
        self._clock = clock
        self._connection: Connection | None = None
        self._looked = False

    async def granted(self) -> frozenset[int]:
        """What this member may own now, looked up at once and then five times in a lease."""
        while True:
            if self._looked:
                await asyncio.sleep(self._lease.total_seconds() / 5)
            self._looked = True
            try:
                return await self._look()
            except Unavailable as error:
                log.warning("ownership_unknown", member=self.member, error=str(error))
                await self._disconnect()

    async def _look(self) -> frozenset[int]:
        connection = self._connection
        if connection is None:
            connection = self._connection = await connect(self._address)
        with translated():
            await connection.execute(SQL["join"], self.member, self._lease)
            await connection.execute(SQL["renew"], self.member, self._lease)
            members = [row["member"] for row in await connection.fetch(SQL["members"])]
            owners = {
                row["partition"]: row["owner"] for row in await connection.fetch(SQL["owners"])
            }
        if self.member not in members:
            return frozenset()
        rank = members.index(self.member)
        quota, more = divmod(len(owners), len(members))
        quota += rank < more
        mine = [partition for partition, owner in owners.items() if owner == self.member][:quota]
        free = [partition for partition, owner in owners.items() if owner is None]
        start = rank * len(free) // len(members)
        free = free[start:] + free[:start]  # so that not everybody reaches for the same
        return frozenset(mine + free[: quota - len(mine)])

    async def take(self, partition: int) -> PostgresOwner:
        """Fence the owner before, and own the partition."""
        connection = await connect(self._address, lock_timeout="1s")
        try:
            row = await self._fence(connection, partition)
            if row is None:
                raise Fenced(f"partition {partition} has another owner")
            ahead = self._clock() - row["now"]
            if ahead > CLOCK_AHEAD:
                await connection.execute(SQL["release"], partition, row["epoch"])
                raise ClockAhead(
                    f"this machine's clock is {ahead.total_seconds():.1f} s ahead of PostgreSQL's"
                )
        except BaseException:
            await close(connection)
            raise
        return PostgresOwner(
            self._address,
            self._codec,
            self._bell,
            connection,
            self._genesis[partition],
            partition,
            row["epoch"],
            row["sequence"],
        )

    async def _fence(self, connection: "Connection", partition: int) -> asyncpg.Record | None:
        """Raise the epoch. An owner that is stuck inside its commit holds the row: end that."""
        pid = connection.get_server_pid()
        with translated():
            taking = asyncio.create_task(
                connection.fetchrow(SQL["take"], partition, self.member, self._lease)
            )
            try:
                done, _ = await asyncio.wait({taking}, timeout=PATIENCE)
                if not done:
                    other = await connect(self._address)
                    try:
                        await other.execute(SQL["blockers"], pid)
                    finally:
                        await close(other)
                return await taking
            finally:
                taking.cancel()

    async def leave(self) -> None:
        """Be no member any more, so that the others need not wait for the lease to end."""
        with suppress(Unavailable), translated():
            connection = self._connection or await connect(self._address)
            self._connection = connection
            await connection.execute(SQL["leave"], self.member, timeout=2)
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await close(self._connection)
            self._connection = None


@asynccontextmanager
async def joined(membership: PostgresMembership) -> AsyncIterator[PostgresMembership]:
    """Leave at the end."""
    try:
        yield membership
    finally:
        await membership.leave()
