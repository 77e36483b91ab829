"""Views that are folded again: beside the ones in use, then in their place.

The new one is folded in a schema beside. When it has caught up, both are locked for a moment, the
new one gets the name and the old one is kept under another until somebody drops it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from adapters.log import LogError
from adapters.postgres.connection import Address, close, connect, translated
from adapters.postgres.statements import load

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("rebuilding")
PATIENCE = 5.0
"""Seconds for which those who fold the view in use are kept waiting, at most."""


class OldViewKept(LogError):
    """The view that was replaced last is kept still, and has the only place for one."""


def beside(live: Address) -> Address:
    """Where a view is folded again."""
    return Address(live.dsn, f"{live.schema}_new")


def before(live: Address) -> Address:
    """Where the view that was replaced is kept."""
    return Address(live.dsn, f"{live.schema}_old")


async def drop(address: Address) -> bool:
    """Drop the view at an address; whether there was one."""
    async with _connected(address) as connection:
        found = await _is_there(connection, address)
        await connection.execute(f'DROP SCHEMA IF EXISTS "{address.schema}" CASCADE')
    return found


async def check_place(live: Address) -> None:
    """Raise OldViewKept if the view that would be replaced could not be kept."""
    old = before(live)
    async with _connected(old) as connection:
        if await _is_there(connection, old):
            raise OldViewKept(
                f"schema {old.schema!r} keeps the one that was replaced last: drop that first "
                "(`turnstile rebuild … --drop-old`)"
            )


async def positions(address: Address) -> Sequence[int]:
    """The sequence of the last event folded, by partition."""
    async with _connected(address) as connection:
        return [row["sequence"] for row in await connection.fetch(SQL["positions"])]


async def swap(live: Address, ends: Sequence[int], stop: Callable[[], Awaitable[None]]) -> None:
    """Put the new view, which is being folded, in the place of the one in use.

    Nobody who reads sees it go back: those who fold the view in use are kept waiting until the new
    one has come as far, or to the *ends* of the log's partitions, if the one in use is on another
    history. Then *stop* must have it folded no more. All who folded either are fenced.

    Raises Unavailable and TimeoutError; then nothing was changed, and it can be tried again.
    """
    new, old = beside(live), before(live)
    async with _connected(live) as connection, connection.transaction():
        await connection.execute(f'LOCK TABLE "{live.schema}".partitions IN EXCLUSIVE MODE')
        rows = await connection.fetch(SQL["positions"])
        targets = [min(row["sequence"], end) for row, end in zip(rows, ends, strict=False)]
        async with asyncio.timeout(PATIENCE):
            while _is_behind(await positions(new), targets):  # noqa: ASYNC110 - it is a table
                await asyncio.sleep(0.05)
        await stop()
        await connection.execute(f'LOCK TABLE "{new.schema}".partitions IN EXCLUSIVE MODE')
        for view, other in ((new, live), (live, new)):
            await connection.execute(
                f'UPDATE "{view.schema}".partitions SET owner = NULL, owned_till = DEFAULT, '
                f'epoch = epoch + 1 + (SELECT max(epoch) FROM "{other.schema}".partitions)'
            )
        await connection.execute(f'ALTER SCHEMA "{live.schema}" RENAME TO "{old.schema}"')
        await connection.execute(f'ALTER SCHEMA "{new.schema}" RENAME TO "{live.schema}"')


def _is_behind(reached: Sequence[int], targets: Sequence[int]) -> bool:
    return any(n < m for n, m in zip(reached, targets, strict=False))


async def _is_there(connection: "Connection", address: Address) -> bool:
    return bool(await connection.fetchval(SQL["is_there"], address.schema))


@asynccontextmanager
async def _connected(address: Address) -> AsyncIterator["Connection"]:
    connection = await connect(address)
    try:
        with translated():
            yield connection
    finally:
        await close(connection)
