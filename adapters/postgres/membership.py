"""Engines that share the log's partitions."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from adapters.codec import Codec
from adapters.log import ClockAhead, Genesis
from adapters.postgres.connection import Address, Bell
from adapters.postgres.owner import PostgresOwner
from adapters.postgres.sharing import Shares, sharing

CLOCK_AHEAD = timedelta(seconds=2)
"""By which no clock may be ahead of the server's."""


class PostgresMembership:
    """One engine of the log."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        bell: Bell,
        genesis: Sequence[Genesis],
        shares: Shares,
        clock: Callable[[], datetime],
    ) -> None:
        self.member = shares.member
        self._address = address
        self._codec = codec
        self._bell = bell
        self._genesis = genesis
        self._shares = shares
        self._clock = clock

    async def granted(self) -> frozenset[int]:
        """What this member may own now, looked up at once and then five times in a lease."""
        return await self._shares.granted()

    async def take(self, partition: int) -> PostgresOwner:
        """Fence the owner before, and own the partition."""
        held = await self._shares.take(partition)
        ahead = self._clock() - held.taken_at
        if ahead > CLOCK_AHEAD:
            await held.release()
            raise ClockAhead(
                f"this machine's clock is {ahead.total_seconds():.1f} s ahead of PostgreSQL's"
            )
        genesis = self._genesis[partition]
        return PostgresOwner(self._address, self._codec, self._bell, held, genesis)


@asynccontextmanager
async def joined(
    address: Address,
    codec: Codec,
    bell: Bell,
    genesis: Sequence[Genesis],
    name: str,
    lease: float,
    clock: Callable[[], datetime],
) -> AsyncIterator[PostgresMembership]:
    """Be an engine of the log under a name, and at the end no more."""
    async with sharing(address, name, lease) as shares:
        yield PostgresMembership(address, codec, bell, genesis, shares, clock)
