"""Processes that share partitions evenly: rows with a lease that each owner renews.

Every member looks at the same rows and knows its quota: with P partitions and M members in the
order of their names the first P mod M have one more than the others. Who has too many gives some
back, who has too few takes those that are free. An advisory lock would survive a paused owner; a
row's lease does not. What an owner writes, it writes in one statement or transaction with a look
at its epoch, which whoever takes the partition over has raised.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import structlog

from adapters.log import Fenced, Unavailable
from adapters.postgres.connection import Address, close, connect, translated
from adapters.postgres.statements import load

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("sharing")
PATIENCE = 0.5
"""Seconds to wait for an owner that is inside its commit."""

log = structlog.get_logger()


class Held:
    """A partition that is owned through a connection of its own, until its epoch is over.

    `taken_at` is when, by the server's clock, and `sequence` how far the partition was then.
    """

    def __init__(self, connection: "Connection", partition: int, row: asyncpg.Record) -> None:
        self.connection = connection
        self.partition = partition
        self.epoch: int = row["epoch"]
        self.sequence: int = row["sequence"]
        self.taken_at: datetime = row["now"]

    def lost(self) -> Fenced:
        """What to raise when the epoch was not found."""
        return Fenced(f"partition {self.partition} has another owner than epoch {self.epoch}")

    async def release(self) -> None:
        """Give the partition back."""
        with suppress(Unavailable), translated():
            await self.connection.execute(SQL["release"], self.partition, self.epoch, timeout=2)
        await close(self.connection)


class Shares:
    """One member, as long as it renews its row."""

    def __init__(self, address: Address, name: str, lease: float, renew: str) -> None:
        self.member = f"{name}-{uuid4().hex[:8]}"
        self._address = address
        self._lease = timedelta(seconds=lease)
        self._renew = SQL[renew]
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
            members = [row["member"] for row in await connection.fetch(SQL["members"])]
            owners = {
                row["partition"]: row["owner"]
                for row in await connection.fetch(SQL["owners"], self.member)
            }
        if self.member not in members:
            return frozenset()
        rank = members.index(self.member)
        quota, more = divmod(len(owners), len(members))
        quota += rank < more
        mine = [partition for partition, owner in owners.items() if owner == self.member][:quota]
        with translated():
            # Not what is to be given up: where that has failed, the end of the lease does it.
            await connection.execute(self._renew, self.member, self._lease, mine)
        free = [partition for partition, owner in owners.items() if owner is None]
        start = rank * len(free) // len(members)
        free = free[start:] + free[:start]  # so that not everybody reaches for the same
        return frozenset(mine + free[: quota - len(mine)])

    async def take(self, partition: int) -> Held:
        """Fence the owner before, and own the partition. Raises Fenced if somebody else has it."""
        connection = await connect(self._address, lock_timeout="1s")
        try:
            row = await self._fence(connection, partition)
            if row is None:
                raise Fenced(f"partition {partition} has another owner")
        except BaseException:
            await close(connection)
            raise
        return Held(connection, partition, row)

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
async def sharing(
    address: Address, name: str, lease: float, *, renew: str = "renew"
) -> AsyncIterator[Shares]:
    """Be one of those who share the partitions at the address; leave at the end.

    *renew* is the statement that renews what this one has.
    """
    shares = Shares(address, name, lease, renew)
    try:
        yield shares
    finally:
        await shares.leave()
