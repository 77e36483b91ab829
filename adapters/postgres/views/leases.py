"""The rows of leases, folded from the log: made with a claim, removed when its attempt is over.

They live in a schema of their own, beside what keeps them alive (`adapters.postgres.leases`). That
is not in the log, so they are not rebuilt: without the schema they are folded anew, and every
lease has its full length.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.log import Genesis
from adapters.postgres.connection import Address, translated
from adapters.postgres.statements import load
from adapters.postgres.views.view import PlacedFold, PostgresView, prepare
from domain.envelope import Recorded
from projections.leases import Changes, changes

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("leases")


async def open_leases(
    address: Address, genesis: Sequence[Genesis], *, lease: float = 6.0
) -> PostgresView:
    """The leases at an address, made if they are not there.

    Raises WrongLog if they are of another log than the one with this *genesis*, and Unavailable.
    """
    anew = f"without schema {address.schema!r} it is folded anew: every lease begins again"
    await prepare(address, "leases", genesis, anew)
    return PostgresView("leases", address, LeasesFold, lease, anew, is_durable=False)


class LeasesFold(PlacedFold):
    """One partition's claims and workers, and how they have ended."""

    async def fold(self, events: Sequence[Recorded]) -> None:
        """Fold the next events; rows and position become true in one transaction."""
        changed = changes(events)
        if not changed:
            await self._place.pass_over(events[-1])
            return
        with translated():
            async with self._place.advanced(events[-1]) as connection:
                await write(connection, changed)


async def write(connection: "Connection", changed: Changes) -> None:
    """Remove what is over, and then make what has begun; first of leases, then of workers."""
    if changed.ended:
        await connection.execute(SQL["fold_ended"], *zip(*changed.ended, strict=True))
    if cancelled := [(*key, version) for key, version in changed.cancelled.items()]:
        await connection.execute(SQL["fold_cancelled"], *zip(*cancelled, strict=True))
    if changed.claimed:
        claims = sorted(changed.claimed.values(), key=lambda one: (one.ticket, one.token))
        await connection.execute(
            SQL["fold_claimed"],
            [one.ticket for one in claims],
            [one.token for one in claims],
            [one.task for one in claims],
            [one.worker for one in claims],
            [one.request for one in claims],
            [one.length for one in claims],
        )
    if changed.gone:
        await connection.execute(SQL["fold_gone"], *zip(*changed.gone, strict=True))
    if changed.registered:
        registered = sorted(changed.registered.items())
        await connection.execute(SQL["fold_registered"], *zip(*registered, strict=True))
