"""The database is really away for longer than a lease, and nobody loses what it works on."""

import asyncio
from pathlib import Path

import pytest

from adapters.asking import asking
from adapters.postgres.connection import Address
from adapters.postgres.leases import leasing
from adapters.postgres.server import bundled
from domain.ticket.events import LeaseLost
from tests.contract.places import PostgresPlace
from tests.contract.test_leases import beating, claim, whose_were_lost
from tests.contract.test_projector import CODEC, engine_on
from tests.contract.test_reaper import happened, projecting, reaping

pytestmark = [pytest.mark.service, pytest.mark.slow]

LENGTH = 3.0
AWAY = 1.5 * LENGTH


async def test_nobody_loses_an_attempt_because_the_database_was_away(reachable: Path) -> None:
    async with bundled(reachable / "away", fsync=False) as server:
        address = Address(server.dsn)
        async with (
            PostgresPlace(address).open(1, codec=CODEC) as log,
            engine_on(log),
            asking(log) as asker,
            projecting(log, address),
            leasing(address, 2) as leases,
            reaping(log, address),
        ):
            kept = await claim(asker, "kept", "w1", LENGTH)
            silent = await claim(asker, "silent", "w2", LENGTH)
            await leases.grant([kept, silent])
            async with beating(leases, kept):
                await server.stop()
                await asyncio.sleep(AWAY)  # no fact tells it: this is the time that is away
                await server.start()
                await happened(log, LeaseLost)  # the silent one's: leases do run out again
            assert {"ticket/silent"} == await whose_were_lost(log)
            _, gaps = await leases.look()
            assert {"hearing", "rounds"} == {gap.found for gap in gaps}
