"""The views of tickets in a schema of their own, beside the log's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapters.log import Genesis, WrongLog
from adapters.postgres.connection import Address, close, connect, translated
from adapters.postgres.sharing import Shares, sharing
from adapters.postgres.statements import load, schema
from adapters.postgres.views.fold import TicketsFold

SQL = load("views")


def of(address: Address) -> Address:
    """Where the views of tickets of a log are, or of one whose log is elsewhere."""
    return Address(address.dsn, f"{address.schema}_tickets")


async def open_tickets(
    address: Address, genesis: Sequence[Genesis], *, lease: float = 6.0
) -> "TicketsView":
    """The views at an address, made if they are not there.

    *genesis* is what each partition of the log says of itself. Raises WrongLog if the views are of
    another log, and Unavailable.
    """
    connection = await connect(address)
    try:
        with translated():
            async with connection.transaction():
                await connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtext($1))", address.schema
                )
                await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{address.schema}"')
                await connection.execute(schema("view"))
                await connection.execute(schema("tickets"))
                await connection.execute(SQL["create_partitions"], [one.id for one in genesis])
                found = await connection.fetch(SQL["partitions"])
    finally:
        await close(connection)
    if [row["log"] for row in found] != [one.id for one in genesis]:
        raise WrongLog(
            f"the views in schema {address.schema!r} are of another log: "
            "drop the schema to have them folded anew"
        )
    return TicketsView(address, lease)


class TicketsView:
    """Tickets, tasks, attempts and results: one fold, so that they are never at odds."""

    name = "tickets"

    def __init__(self, address: Address, lease: float) -> None:
        self._address = address
        self._lease = lease

    @asynccontextmanager
    async def join(self, name: str) -> AsyncIterator["TicketsFolding"]:
        """Be one of the processes that fold this view."""
        async with sharing(self._address, name, self._lease) as shares:
            yield TicketsFolding(self._address, shares)


class TicketsFolding:
    """One process's share of the partitions."""

    def __init__(self, address: Address, shares: Shares) -> None:
        self._address = address
        self._shares = shares

    async def granted(self) -> frozenset[int]:
        """What this one may fold now."""
        return await self._shares.granted()

    async def leave(self) -> None:
        """Have no share any more."""
        await self._shares.leave()

    async def take(self, partition: int) -> TicketsFold:
        """Fence whoever folded the partition before."""
        held = await self._shares.take(partition)
        try:
            with translated():
                found = await held.connection.fetch(SQL["partitions"])
        except BaseException:
            await held.release()
            raise
        return TicketsFold(held, found[partition]["event"], self._address.channel("views"))
