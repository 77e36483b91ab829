"""Leases on a real PostgreSQL without a log: events are folded by hand, and time passes at once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
from msgspec.structs import replace

from adapters.postgres.connection import Address, open_pool
from adapters.postgres.lease_rounds import LeaseRounds, open_lease_rounds
from adapters.postgres.leases import Lease, Leases, leasing
from adapters.postgres.views.leases import open_leases
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from adapters.views import Fold
from domain.envelope import Recorded, Submitted
from domain.event import Event
from domain.workflow import Timeouts
from tests.service.test_ticket_views import fold_of, folding, log_of
from tests.unit.given import Given, claim, given, opening, task

LENGTH = 60.0


class LeaseSite:
    """The leases, what a reaper and an API do with them, and the folds."""

    def __init__(
        self,
        leases: Leases,
        rounds: LeaseRounds,
        pool: "asyncpg.Pool[asyncpg.Record]",
        folds: dict[str, Fold],
    ) -> None:
        self.leases = leases
        self.rounds = rounds
        self.pool = pool
        self._folds = folds
        self._folded: dict[str, int] = dict.fromkeys(folds, 0)
        self._events: list[Recorded] = []
        self._taken: dict[str, int] = {}

    def record(self, *tickets: Given) -> None:
        """What has happened to these since is in the log."""
        for ticket in tickets:
            before = self._taken.get(ticket.stream.id, 0)
            self._taken[ticket.stream.id] = len(ticket.history)
            for event in ticket.history[before:]:
                self._append(event)

    def record_of_worker(self, worker: str, *events: Event) -> None:
        """This has happened to a worker."""
        [first, *_] = given(opening("A")).history
        for event in events:
            self._append(replace(first, originator_id=f"worker/{worker}", event=event))

    def _append(self, event: Recorded) -> None:
        self._events.append(replace(event, sequence=len(self._events) + 1))

    async def fold(self, *tickets: Given, views: tuple[str, ...] = ("leases", "tickets")) -> None:
        """What has happened to these is in these views, too."""
        self.record(*tickets)
        for name in views:
            if events := self._events[self._folded[name] :]:
                await self._folds[name].fold(events)
            self._folded[name] = len(self._events)

    async def passes(self, seconds: float, *, hearing: bool = True, rounds: bool = True) -> None:
        """So much time passes, in which some API hears and some reaper looks, or not."""
        tables: dict[str, tuple[str, ...]] = {
            "leases": ("deadline", "marked"),
            "heard": ("at",),
            "gaps": ("began", "ended"),
        }
        if not hearing:
            tables["hearing"] = ("at", "till")
        if not rounds:
            tables["rounds"] = ("at", "till")
        for table, columns in tables.items():
            earlier = ", ".join(f"{one} = {one} - $1 * interval '1 second'" for one in columns)
            await self.pool.execute(f"UPDATE {table} SET {earlier}", seconds)

    async def round(self) -> list[Submitted]:
        """A reaper's round, and what it sends, while an API hears."""
        await self.leases.hearing()
        return [one async for one in self.rounds.due()]

    async def rows(self) -> list[tuple[Any, ...]]:
        """(ticket, token, session, is it marked) of each."""
        statement = "SELECT ticket, token, session, marked IS NOT NULL FROM leases ORDER BY 1, 2"
        return [tuple(row) for row in await self.pool.fetch(statement)]

    async def remaining(self, ticket: str) -> float:
        """For how many seconds the lease lasts on."""
        found = await self.pool.fetchval(
            "SELECT extract(epoch FROM deadline - now())::float8 FROM leases WHERE ticket = $1",
            ticket,
        )
        return float(found)


def claimed(name: str, worker: str = "w1", request: str = "r1", length: float = LENGTH) -> Given:
    """A ticket whose task A a worker has."""
    spec = task("A", timeouts=Timeouts(heartbeat=length))
    return Given(opening(spec), claim("A", worker, request), stream=f"ticket/{name}")


def lease(name: str, session: str = "s1", worker: str = "w1", request: str = "r1") -> Lease:
    """What its API grants for that."""
    return Lease(name, TOKEN, "A", worker, session, request, LENGTH)


TOKEN = 3
"""Of a claim in the tickets of `claimed`."""


@asynccontextmanager
async def lease_site(address: Address) -> AsyncIterator[LeaseSite]:
    """Leases and the views of tickets, and the folds of both."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        views = {
            "leases": await open_leases(address_of(address, "leases"), log_of(), lease=30),
            "tickets": await open_tickets(address_of(address, "tickets"), log_of(), lease=30),
        }
        folds = {
            name: await enter(fold_of(await enter(folding(view)))) for name, view in views.items()
        }
        yield LeaseSite(
            await enter(leasing(address, 4)),
            await enter(open_lease_rounds(address)),
            await enter(open_pool(address_of(address, "leases"), 2)),
            folds,
        )
