"""The desk for claims with its parts, opened in order and closed in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from adapters.asking import Asker
from adapters.credentials import Credentials
from adapters.postgres.claims import Claims, open_claims
from adapters.postgres.connection import Address, Bell
from adapters.postgres.leases import Leases
from adapters.postgres.views.view import address_of
from adapters.work.claiming import ClaimDesk
from adapters.work.granting import Granting, Secrets
from adapters.work.presence import Known

POOL: Final = 4
"""Connections with which an API looks through the queue."""


class Work(Struct, frozen=True):
    """The desk that serves, and where it looks."""

    desk: ClaimDesk
    claims: Claims


@asynccontextmanager
async def open_work(
    database: Address,
    bell: Bell,
    *,
    asker: Asker,
    workers: Known,
    leases: Leases,
    credentials: Credentials,
    secrets: Secrets,
) -> AsyncIterator[Work]:
    """Serve claims, beside the log at an address; the *bell* of its database wakes who waits.

    Raises Unavailable.
    """
    async with open_claims(database, POOL) as claims:
        granting = Granting(asker, claims, leases, credentials, secrets)
        desk = ClaimDesk(claims, workers, granting, leases.heard_of)
        bell.subscribe(address_of(database, "tickets").channel("views"), desk.stir)
        bell.subscribe(address_of(database, "workers").channel("views"), desk.workers_moved)
        serving = asyncio.create_task(desk.run())
        try:
            yield Work(desk, claims)
        finally:
            serving.cancel()
            await asyncio.wait({serving})
            await desk.end()
