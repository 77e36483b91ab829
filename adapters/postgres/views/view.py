"""What every view in PostgreSQL has: a schema of its own, partitions that are shared, positions."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from adapters.log import Fenced, Genesis, Unavailable, WrongLog
from adapters.postgres.connection import Address, close, connect, translated
from adapters.postgres.sharing import Held, Shares, sharing
from adapters.postgres.statements import load, schema
from adapters.views import REST, Fold, Folded
from domain.envelope import Recorded

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("views")
FORMAT = 2
"""The form of the tables, unless a view says another; others are refused."""


def address_of(log: Address, name: str) -> Address:
    """Where the view of this name is, of a log at an address or of one that is elsewhere."""
    return Address(log.dsn, f"{log.schema}_{name}")


class Place:
    """How far a partition of a view is, and the right to say so.

    Attributes:
        connection: for what is written together with the position.
        sequence: that of the last event that was folded.
        event: its id.
    """

    def __init__(self, held: Held, event: UUID | None, channel: str, lease: float) -> None:
        self.partition = held.partition
        self.connection = held.connection
        self.sequence = held.sequence
        self.event = event
        self._held = held
        self._channel = channel
        self._lease = timedelta(seconds=lease)
        self._written = held.sequence
        self._written_at = float("-inf")

    @asynccontextmanager
    async def advanced(self, last: Recorded) -> AsyncIterator["Connection"]:
        """A transaction in which the view has come to an event. Raises Fenced."""
        connection = self.connection
        with translated():
            async with connection.transaction():
                moved = await connection.fetch(
                    SQL["advance"],
                    self.partition,
                    self._held.epoch,
                    self._written,
                    last.sequence,
                    last.id,
                    self._channel,
                    self._lease,
                )
                if not moved:
                    raise self._held.lost()
                yield connection
        self.sequence, self.event = last.sequence, last.id
        self._has_written()

    async def pass_over(self, last: Recorded) -> None:
        """Have come to an event without any other change: most of them are written down together.

        Nobody is told: whoever waits for the position looks now and then. Raises Fenced.
        """
        self.sequence, self.event = last.sequence, last.id
        if monotonic() >= self._written_at + REST:
            await self.rest()

    @property
    def owes(self) -> bool:
        """Whether it has come further than is written down."""
        return self.sequence != self._written

    async def rest(self) -> None:
        """Write down how far it has come. Raises Fenced."""
        with translated():
            passed = await self.connection.fetchval(
                SQL["pass_over"],
                self.partition,
                self._held.epoch,
                self._written,
                self.sequence,
                self.event,
                self._lease,
            )
        if passed is None:
            raise self._held.lost()
        self._has_written()

    def _has_written(self) -> None:
        self._written, self._written_at = self.sequence, monotonic()

    async def check(self) -> None:
        """Whether what is read here may be of somebody who folds it since. Raises Fenced."""
        with translated():
            epoch = await self.connection.fetchval(SQL["epoch"], self.partition)
        if epoch != self._held.epoch:
            raise self._held.lost()

    async def release(self) -> None:
        """Give the partition back."""
        try:
            if self.owes:
                with suppress(Fenced, Unavailable):  # whoever is next passes over it again
                    await self.rest()
        finally:
            await self._held.release()


class PlacedFold:
    """What the folds of all views have: a place, which is theirs until somebody takes it."""

    def __init__(self, place: Place) -> None:
        self.partition = place.partition
        self._place = place

    @property
    def sequence(self) -> int:
        """That of the last event that was folded, 0 at first."""
        return self._place.sequence

    @property
    def event(self) -> UUID | None:
        """Its id."""
        return self._place.event

    @property
    def owes(self) -> bool:
        """Whether it has come further than is written down."""
        return self._place.owes

    async def rest(self) -> None:
        """Write down how far it has come."""
        await self._place.rest()

    async def release(self) -> None:
        """Give the partition back."""
        await self._place.release()


class PostgresView:
    """One view at an address of its own."""

    def __init__(
        self,
        name: str,
        address: Address,
        fold: Callable[[Place], Fold],
        lease: float,
        anew: str | None = None,
        *,
        is_durable: bool = True,
    ) -> None:
        """*is_durable*: whether what is folded must be on the disk before it is said to be.

        Where it need not, a server that crashes forgets the last rows and their position
        together, and they are folded again.
        """
        self.name = name
        self.anew = anew or f"`turnstile rebuild {name}` folds it anew"
        self.address = address
        self._fold = fold
        self._lease = lease
        self.is_durable = is_durable

    def fold(self, held: Held, event: UUID | None) -> Fold:
        """That of a partition which has come to an event."""
        return self._fold(Place(held, event, self.address.channel("views"), self._lease))

    @asynccontextmanager
    async def join(self, name: str) -> AsyncIterator["PostgresFolding"]:
        """Be one of the processes that fold this view."""
        async with sharing(self.address, name, self._lease, renew="renew_idle") as shares:
            yield PostgresFolding(self, shares)

    async def standings(self) -> Sequence[Folded]:
        """How far every partition is, and who has it."""
        connection = await connect(self.address)
        try:
            with translated():
                return [Folded(*row) for row in await connection.fetch(SQL["standings"])]
        finally:
            await close(connection)


class PostgresFolding:
    """One process's share of the partitions."""

    def __init__(self, view: PostgresView, shares: Shares) -> None:
        self._view = view
        self._shares = shares

    async def granted(self) -> frozenset[int]:
        """What this one may fold now."""
        return await self._shares.granted()

    async def take(self, partition: int) -> Fold:
        """Fence whoever folded the partition before."""
        held = await self._shares.take(partition)
        try:
            with translated():
                event = await held.connection.fetchval(SQL["event"], partition)
                if not self._view.is_durable:
                    await held.connection.execute(SQL["hurry"])
        except BaseException:
            await held.release()
            raise
        return self._view.fold(held, event)

    async def leave(self) -> None:
        """Have no share any more."""
        await self._shares.leave()


async def prepare(
    address: Address,
    tables: str,
    genesis: Sequence[Genesis],
    anew: str | None = None,
    *,
    form: int = FORMAT,
) -> None:
    """Make the tables of `sql/<tables>_tables.sql` where they are missing, for this log.

    *genesis* is what each partition of the log says of itself. Raises WrongLog if what is there is
    of another log or form, and Unavailable.
    """
    name = address.schema
    connection = await connect(address)
    try:
        with translated():
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", name)
                # Not again where they are: an index that is there would be waited for, and whoever
                # folds waits for us.
                if not await connection.fetchval(SQL["are_there"], name):
                    await _create(connection, name, tables, genesis, form)
                found = await connection.fetch(SQL["partitions"])
    finally:
        await close(connection)
    if [row["log"] for row in found] != [one.id for one in genesis]:
        raise WrongLog(
            f"the views in schema {name!r} are of another log: drop it to have them folded anew"
        )
    if {row["format"] for row in found} != {form}:
        raise WrongLog(
            f"the views in schema {name!r} have another form than this version folds: "
            f"{anew or f'`turnstile rebuild {tables}` folds them anew'}"
        )


async def _create(
    connection: "Connection", name: str, tables: str, genesis: Sequence[Genesis], form: int
) -> None:
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
    await connection.execute(schema("view"))
    await connection.execute(schema(tables))
    await connection.execute(SQL["create_partitions"], [one.id for one in genesis], form)
