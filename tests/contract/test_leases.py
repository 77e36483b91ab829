"""What leases promise on every log: who is heard of keeps its attempts, who is not loses them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from adapters.asking import Asker, asking
from adapters.log import Log, Unavailable
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.leases import Lease, Leases, leasing
from adapters.postgres.views.rebuilding import drop
from adapters.postgres.views.view import address_of
from domain.ticket import commands as c
from domain.ticket.events import LeaseLost
from domain.workflow import Timeouts
from tests.contract.places import Place
from tests.contract.test_projector import CODEC, ask, engine_on, live, log_of, seen
from tests.contract.test_reaper import happened, projecting, reaping
from tests.unit.given import opening, task

pytestmark = pytest.mark.service

LENGTH = 3.0


async def claim(asker: Asker, ticket: str, worker: str, length: float = LENGTH) -> Lease:
    """A ticket whose task the worker has."""
    await ask(asker, ticket, opening(task("A", timeouts=Timeouts(heartbeat=length))))
    token = await ask(asker, ticket, c.Claim(task="A", worker=worker, request=ticket))
    return Lease(ticket, token, "A", worker, f"{worker}'s", ticket, length)


async def rows(address: Address) -> Sequence[tuple[Any, ...]]:
    connection = await connect(address_of(address, "leases"))
    try:
        found = await connection.fetch(
            "SELECT ticket, token, task, worker, request, length FROM leases ORDER BY ticket"
        )
        return [tuple(row) for row in found]
    finally:
        await close(connection)


@asynccontextmanager
async def beating(leases: Leases, *held: Lease) -> AsyncIterator[None]:
    """A runner that beats as long as it lives, whatever is away."""

    async def beat() -> None:
        while True:
            with suppress(Unavailable):
                attempts = [(one.ticket, one.token) for one in held]
                await leases.beat(held[0].worker, held[0].session, attempts)
            await asyncio.sleep(0.1)

    running = asyncio.create_task(beat())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def whose_were_lost(log: Log) -> set[str]:
    return {one.originator_id for one in await log_of(log) if isinstance(one.event, LeaseLost)}


async def test_the_leases_are_those_of_the_claims_under_way_also_made_anew(
    place: Place, address: Address
) -> None:
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        at = address_of(address, "leases")
        async with projecting(log, address):
            one, two = await claim(asker, "t1", "w1"), await claim(asker, "t2", "w2")
            await live(asker, "over")
            await seen(log, at)
        expected = [(n.ticket, n.token, "A", n.worker, n.request, LENGTH) for n in (one, two)]
        assert expected == await rows(address)
        assert await drop(at)
        async with projecting(log, address):
            await seen(log, at)
        assert expected == await rows(address)


async def test_who_beats_keeps_its_attempts_and_who_is_silent_loses_them(
    place: Place, address: Address
) -> None:
    async with (
        place.open(2, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
        projecting(log, address),
        leasing(address, 2) as leases,
    ):
        kept, silent = await claim(asker, "kept", "w1"), await claim(asker, "silent", "w2")
        await leases.grant([kept, silent])
        async with beating(leases, kept), reaping(log, address):
            [lost] = await happened(log, LeaseLost)
            assert ("ticket/silent", "reaper") == (lost.originator_id, lost.actor)
            await seen(log, address_of(address, "leases"))
            [row] = await rows(address)
            assert ("kept", kept.token) == row[:2]
        assert {"ticket/silent"} == await whose_were_lost(log)
