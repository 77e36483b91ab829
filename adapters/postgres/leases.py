"""Leases kept alive beside the log: granted with a claim, extended by heartbeats, marked when lost.

    async with leasing(database, 8) as leases:
        await leases.grant([...])                 the API, on the reply to claims
        await leases.beat(worker, session, ...)   a heartbeat for all attempts of a runner
        await leases.hearing()                    every second, as long as heartbeats can come in

The rows are made and removed by the fold of `adapters.postgres.views.leases`; whoever knows first
makes one, and nobody shortens it. What has run out is found by `adapters.postgres.lease_rounds`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

import asyncpg
from msgspec import Struct

from adapters.postgres.claims import BY_INDEX
from adapters.postgres.connection import Address, open_pool, translated
from adapters.postgres.statements import load
from adapters.postgres.views.view import address_of

SQL: Final = load("leases")

GAP: Final = 3.0
"""Seconds without a note after which heartbeats are taken not to have come in."""

RESTARTED: Final = "its runner was started anew"
"""Why leases of older sessions are lost."""

SHOWN: Final = timedelta(days=1)
"""For how long gaps are shown to a doctor."""


class Lease(Struct, frozen=True):
    """The right of a worker's session to work on an attempt, for `length` seconds at a time.

    Without a session only the claim is known, by the fold: it is the one that asked for it.
    """

    ticket: str
    token: int
    task: str
    worker: str
    session: str
    request: str
    length: float


class Beating(Struct, frozen=True):
    """What a heartbeat is told.

    `lost` are (ticket, token, reason) of attempts that were named and are not the worker's any
    more; `held` are (ticket, token, task) of all leases that it has.
    """

    lost: Sequence[tuple[str, int, str]]
    held: Sequence[tuple[str, int, str]]


class Look(Struct, frozen=True):
    """How leases are, in seconds; for a doctor.

    The `first` of the `open` ones runs out then, and should have been marked so `late` before.
    The oldest of the `marked` ones is so since `marked_for`. No API has noted that it hears since
    `deaf`, no reaper that it looks since `unwatched`: None where one does.
    """

    open: int
    first: float | None
    late: float | None
    marked: int
    marked_for: float | None
    deaf: float | None
    unwatched: float | None


class Gap(Struct, frozen=True):
    """A time in which nothing runs out, and what was found: see `leases_tables.sql`."""

    found: str
    began: datetime
    ended: datetime
    silent: int | None
    open: int | None


def paths(database: Address) -> str:
    """Where leases are found, and the views of tickets that know whether an attempt is over."""
    return ", ".join(address_of(database, name).schema for name in ("leases", "tickets"))


@asynccontextmanager
async def leasing(database: Address, size: int, *, gap: float = GAP) -> AsyncIterator["Leases"]:
    """The leases beside the log at an address, through at most so many connections.

    A server that crashes may forget the last heartbeats: they need not be on the disk at once.
    """
    at, path = address_of(database, "leases"), paths(database)
    async with open_pool(at, size, search_path=path, **BY_INDEX) as pool:
        yield Leases(pool, gap=gap)


class Leases:
    """Asks through a pool whose path has leases and tickets. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, gap: float = GAP) -> None:
        self._pool = pool
        self._gap = timedelta(seconds=gap)

    async def grant(self, leases: Sequence[Lease]) -> None:
        """These are the workers' now, for the full length of each; none gets shorter by it.

        Where the fold made the row first it gets its session. An attempt that is over stays so.
        """
        ordered = sorted(leases, key=attrgetter("ticket", "token"))
        columns = ([getattr(one, name) for one in ordered] for name in Lease.__struct_fields__)
        with translated():
            await self._pool.execute(SQL["grant"], *columns)

    async def beat(
        self, worker: str, session: str, attempts: Sequence[tuple[str, int]] = ()
    ) -> Beating:
        """The worker was heard of and works on these (ticket, token): what it has lasts on.

        One whose row is not there (yet) is lost only if its end is known.
        """
        tickets, tokens = [one[0] for one in attempts], [one[1] for one in attempts]
        with translated():
            rows = await self._pool.fetch(SQL["beat"], worker, session, tickets, tokens)
        told = [(row["held"], (row["ticket"], row["token"], row["word"])) for row in rows]
        return Beating(
            lost=[one for held, one in told if not held], held=[one for held, one in told if held]
        )

    async def present(self, ticket: str, token: int) -> bool:
        """Whether the attempt is neither lost nor over, as far as anybody knows."""
        with translated():
            return bool(await self._pool.fetchval(SQL["present"], ticket, token))

    async def of_request(self, worker: str, request: str) -> Sequence[Lease]:
        """What the worker got for a claim request, without what it has lost since."""
        with translated():
            rows = await self._pool.fetch(SQL["of_request"], worker, request)
        return [Lease(**row) for row in rows]

    async def heard(self, worker: str, session: str) -> None:
        """The worker has registered: from now on it is to be heard of."""
        with translated():
            await self._pool.execute(SQL["heard"], worker, session)

    async def heard_of(self, workers: Mapping[str, str]) -> None:
        """These are there, by name and session. One of another session is not heard of by it."""
        with translated():
            await self._pool.execute(SQL["heard_of"], list(workers), list(workers.values()))

    async def release_others(self, worker: str, session: str) -> Sequence[tuple[str, str, int]]:
        """Take its leases from the worker's older sessions: it was started anew.

        Each is (ticket, task, token). They are marked, so a reaper ends the attempts if whoever
        asks does not. One without a session is left alone: it may be this one's, just claimed.
        """
        with translated():
            rows = await self._pool.fetch(SQL["release_others"], worker, session, RESTARTED)
        return [tuple(row) for row in rows]

    async def hearing(self) -> None:
        """Note that heartbeats can come in. Every second: else nothing runs out."""
        with translated():
            await self._pool.execute(SQL["hearing"], self._gap)

    async def look(self) -> tuple[Look, Sequence[Gap]]:
        """How they are, and the last gaps, the latest first."""
        with translated():
            row = await self._pool.fetchrow(SQL["look"])
            gaps = await self._pool.fetch(SQL["gaps"], SHOWN, 100)
        assert row is not None
        return Look(**row), [Gap(**gap) for gap in gaps]
