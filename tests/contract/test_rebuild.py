"""A view that is folded again, on every log, while the one in use goes on."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog.testing

from adapters.asking import Asker, asking
from adapters.log import Log
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.views.rebuilding import OldViewKept, before, beside, drop
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import PostgresView, address_of
from tests.contract.places import Place
from tests.contract.test_projector import (
    CODEC,
    engine_on,
    genesis_of,
    live,
    projecting,
    rows_are_the_fold,
    seen,
    view_of,
)
from tests.contract.ticket_rows import tables
from workers.projector import Projector
from workers.rebuild import Rebuild

pytestmark = pytest.mark.service


def rebuild_of(log: Log, address: Address) -> Rebuild:
    async def again(at: Address) -> PostgresView:
        return await open_tickets(at, await genesis_of(log), lease=0.6)

    return Rebuild(log, address_of(address, "tickets"), again)


async def test_the_new_view_is_equal_to_the_fold_while_commands_come_in(
    place: Place, address: Address
) -> None:
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        with structlog.testing.capture_logs():
            async with projecting(log, address):
                await asyncio.gather(*(live(asker, str(n)) for n in range(10)))
                await seen(log, address_of(address, "tickets"))
                working = asyncio.create_task(_live_on(asker, range(10, 40)))
                await rebuild_of(log, address).run()
                await working
                await rows_are_the_fold(log, address)
        assert await drop(before(address_of(address, "tickets")))


async def _live_on(asker: Asker, numbers: Sequence[int]) -> None:
    for n in numbers:
        await live(asker, str(n))


async def test_what_was_damaged_is_mended_by_a_rebuild(place: Place, address: Address) -> None:
    at = address_of(address, "tickets")
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        async with projecting(log, address):
            await live(asker, "1")
            await seen(log, at)
        async with open_pool(at, 1) as pool:
            await pool.execute("UPDATE tickets SET project = 'somebody else''s'")
            await pool.execute("UPDATE partitions SET event = gen_random_uuid()")
            await rebuild_of(log, address).run()
            # The same connection and statements as before find the new view.
            assert "tower" == await pool.fetchval("SELECT project FROM tickets")
        async with projecting(log, address):
            await rows_are_the_fold(log, address)


async def test_a_reader_never_sees_the_view_go_back(place: Place, address: Address) -> None:
    at = address_of(address, "tickets")
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        with structlog.testing.capture_logs():
            async with projecting(log, address), open_pool(at, 1) as pool:
                await asyncio.gather(*(live(asker, str(n)) for n in range(10)))
                await seen(log, at)
                working = asyncio.create_task(_live_on(asker, range(10, 30)))
                rebuilding = asyncio.create_task(rebuild_of(log, address).run())
                seen_before = 0
                while not (rebuilding.done() and working.done()):
                    seen_now = await pool.fetchval("SELECT sum(sequence)::int FROM partitions")
                    assert seen_now >= seen_before
                    seen_before = seen_now
                await working
                await rebuilding


async def test_the_old_one_is_kept_until_somebody_drops_it(place: Place, address: Address) -> None:
    at = address_of(address, "tickets")
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await live(asker, "1")
        await view_of(log, address)
        await rebuild_of(log, address).run()
        with pytest.raises(OldViewKept):
            await rebuild_of(log, address).run()
        assert await drop(before(at))
        await rebuild_of(log, address).run()


async def test_a_rebuild_that_was_killed_is_gone_on_with(place: Place, address: Address) -> None:
    at = address_of(address, "tickets")
    async with place.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        await view_of(log, address)
        await live(asker, "1")
        shadow = await open_tickets(beside(at), await genesis_of(log), lease=0.6)
        projector = Projector("killed", log, [shadow])
        folding = asyncio.create_task(projector.run())
        await seen(log, beside(at))
        projector.stop()
        await folding
        async with open_pool(beside(at), 1) as pool:
            await pool.execute("UPDATE tickets SET name = 'folded before'")
        await live(asker, "2")
        await rebuild_of(log, address).run()
        async with projecting(log, address):
            await seen(log, at)
        rows = (await tables(address))["tickets"]
        assert {"1": "folded before", "2": "main"} == {row["ticket"]: row["name"] for row in rows}
