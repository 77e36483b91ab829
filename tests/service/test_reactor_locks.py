"""Two reactors at the same moment: each is stopped inside its transaction while the other comes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest

from adapters.codec import Codec
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.reactor import Batch, ask_superseding, ask_waiting, open_reactor
from adapters.postgres.views.view import address_of
from adapters.views import Reaction
from domain.envelope import Submitted
from domain.kinds import DECIDERS
from domain.policy import Ended, Matter, Opened
from domain.ticket import commands as c
from domain.ticket.automata import TicketState
from domain.ticket.words import Precedence
from tests.service.test_ticket_views import fold_of, folding, history, log_of
from tests.unit.given import Given, opening

pytestmark = pytest.mark.service

Ask = Callable[[Any, Batch], Coroutine[Any, Any, Sequence[Submitted]]]


def newer(order: int) -> c.Open:
    return opening("A", supersedes=Precedence("tower/42", order))


def ticket(name: str, *commands: Any) -> Given:
    return Given(*commands, stream=f"ticket/{name}")


@asynccontextmanager
async def another(at: Address, ask: Ask, matter: Matter) -> AsyncIterator[Any]:
    """A reactor of another partition, before it commits; what it asks for."""
    connection = await connect(at)
    try:
        async with connection.transaction():
            yield await ask(connection, Batch([matter]))
    finally:
        await close(connection)


async def somebody_waits(at: Address) -> None:
    connection = await connect(at)
    try:
        async with asyncio.timeout(10):
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted"
                " AND (query LIKE '%INTO newest%' OR query LIKE '%INTO ends%')"
            ):
                await asyncio.sleep(0.01)
    finally:
        await close(connection)


async def asked(address: Address, ask: Ask, matter: Matter, *tickets: Given) -> list[str]:
    """Who is asked for what, by the one that comes first and by the one that must wait for it."""
    at = address_of(address, "reactor")
    view = await open_reactor(at, log_of(), Codec(DECIDERS), lease=5)
    async with folding(view) as one, fold_of(one) as fold:
        reaction = cast("Reaction", fold)
        await reaction.outbox()
        async with another(at, ask, matter) as first:
            second = asyncio.create_task(fold.fold(history(*tickets)))
            await somebody_waits(at)
        await second
        commands = [*first, *await reaction.outbox()]
    return [f"{one.stream} {type(one.command).__name__}" for one in commands]


async def test_an_older_ticket_that_is_not_committed_yet_is_not_missed(address: Address) -> None:
    older = Opened("old", UUID(int=1), Precedence("tower/42", 1), ())
    found = await asked(address, ask_superseding, older, ticket("new", newer(2)))
    assert ["ticket/old Supersede"] == found


async def test_a_newer_ticket_that_is_not_committed_yet_is_not_missed(address: Address) -> None:
    new = Opened("new", UUID(int=1), Precedence("tower/42", 2), ())
    found = await asked(address, ask_superseding, new, ticket("old", newer(1)))
    assert ["ticket/old Supersede"] == found


async def test_an_end_that_is_not_committed_yet_is_not_missed(address: Address) -> None:
    end = Ended("a", UUID(int=1), TicketState.PASSED)
    found = await asked(address, ask_waiting, end, ticket("w", opening("A", waits_for=("a",))))
    assert ["ticket/w NoteEnd"] == found


async def test_a_waiter_that_is_not_committed_yet_is_not_missed(address: Address) -> None:
    waiter = Opened("w", UUID(int=1), None, ("a",))
    found = await asked(address, ask_waiting, waiter, ticket("a", opening("A"), c.Cancel()))
    assert ["ticket/w NoteEnd"] == found
