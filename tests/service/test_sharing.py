"""Who shares partitions in PostgreSQL: what one does not give back, the end of its lease does."""

import asyncio

import pytest

from adapters.postgres.connection import Address
from adapters.postgres.sharing import sharing
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from tests.service.test_ticket_views import log_of

pytestmark = pytest.mark.service

LEASE = 0.5


async def test_what_was_not_given_back_is_had_by_the_next_when_its_lease_ends(
    address: Address,
) -> None:
    at = address_of(address, "tickets")
    await open_tickets(at, log_of(4), lease=LEASE)
    async with sharing(at, "one", LEASE) as one, asyncio.timeout(20):
        had = await one.granted()
        for partition in had:
            held = await one.take(partition)
            await held.connection.close()  # as when a server was away: it gives nothing back
        async with sharing(at, "other", LEASE) as other:
            granted: set[int] = set()
            while len(granted) < len(had) // 2:
                # The first is one of two now, and should give half of it back, but cannot.
                await one.granted()
                granted |= await other.granted()
            assert granted < had
