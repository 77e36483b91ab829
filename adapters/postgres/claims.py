"""Claims in PostgreSQL: who is next in the queue, and reservations while engines are asked.

A reservation is short: it keeps others away until the ticket has decided and the views show it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from adapters.postgres.connection import Address, open_pool, translated
from adapters.postgres.preparing import prepare
from adapters.postgres.statements import load
from adapters.postgres.views.view import address_of
from domain.ticket.words import Artifact
from domain.workflow import Requirements, Subject, TaskSpec
from projections.queue import Candidate

SQL: Final = load("claims")

LIFE: Final = timedelta(seconds=10)
"""How long a reservation lasts."""

BY_INDEX: Final = {
    # The plan is the same for whatever is asked, and each of its steps is an index: what the tables
    # were like when somebody last looked must not make it another one.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # What is lost with the server is a reservation that nobody asks for any more.
    "synchronous_commit": "off",
}


class Reservation(Struct, frozen=True):
    """A task, which waits `since` then, is being claimed for a worker by a request."""

    ticket: str
    task: str
    since: datetime
    worker: str
    request: str


class Detail(Struct, frozen=True):
    """What a worker has to know of a task; `attempts` so far, the last with this `token`."""

    spec: TaskSpec
    subject: Subject
    attempts: int
    token: int | None


Key = tuple[str, str]
"""A ticket and a task of it."""

_spec: Final = msgspec.json.Decoder(TaskSpec).decode
_artifacts: Final = msgspec.json.Decoder(tuple[Artifact, ...]).decode
_requires: Final = msgspec.json.Decoder(Requirements).decode


def paths(database: Address) -> str:
    """Where reservations are, and the views that tell what waits and who works."""
    names = ("claims", "tickets", "workers")
    return ", ".join(f'"{address_of(database, name).schema}"' for name in names)


@asynccontextmanager
async def open_claims(database: Address, size: int) -> AsyncIterator["Claims"]:
    """The claims beside the log at an address, made if they are not there. Raises Unavailable."""
    address = address_of(database, "claims")
    await prepare(address, "claims")
    async with open_pool(address, size, search_path=paths(database), **BY_INDEX) as pool:
        yield Claims(pool)


class Claims:
    """Asks through a pool whose path has reservations, tickets and workers. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def classes(self, known: int) -> Mapping[str, Requirements]:
        """What each class requires; nothing if there are as many classes as are *known*."""
        rows = await self._fetch("classes", known)
        return {row["class"]: _requires(row["requires"]) for row in rows}

    async def candidates(self, classes: Sequence[str], heads: int) -> Sequence[Candidate]:
        """So many tasks, at most, of each project that waits in these classes, the first ones.

        None is reserved, or of a ticket that is not to begin yet or could not be folded on.
        """
        rows = await self._fetch("candidates", list(classes), heads)
        return [Candidate(*row) for row in rows]

    async def reserve(
        self, wanted: Sequence[Reservation], sessions: Mapping[str, str]
    ) -> Sequence[Reservation]:
        """Have these reserved; those that are.

        The others somebody else has, or their worker may not claim: it is not available, or in
        another session than this one of *sessions*, by worker.
        """
        if not wanted:
            return ()
        columns = zip(*map(msgspec.structs.astuple, wanted), strict=True)
        of_sessions = [sessions[one.worker] for one in wanted]
        rows = await self._fetch("reserve", *map(list, columns), of_sessions, LIFE)
        return [Reservation(*row) for row in rows]

    async def reserved(self, worker: str, request: str) -> Sequence[Reservation]:
        """What is still reserved for a request, and is for another while."""
        return [Reservation(*row) for row in await self._fetch("reserved", worker, request, LIFE)]

    async def release(self, reserved: Sequence[Reservation]) -> None:
        """Have these reserved no more."""
        columns = [(one.ticket, one.task, one.request) for one in reserved]
        with translated():
            await self._pool.execute(SQL["release"], *map(list, zip(*columns, strict=True)))

    async def sweep(self) -> None:
        """Forget what has run out."""
        with translated():
            await self._pool.execute(SQL["sweep"])

    async def details(self, tasks: Sequence[Key]) -> Mapping[Key, Detail]:
        """What a worker has to know of them."""
        rows = await self._fetch("details", *_columns(tasks))
        return {
            (row["ticket"], row["task"]): Detail(
                _spec(row["spec"]),
                Subject(row["kind"], row["project"], row["name"], row["revision"], row["url"]),
                row["attempts"],
                row["token"],
            )
            for row in rows
        }

    async def left(self, tasks: Sequence[Key]) -> Mapping[Key, Sequence[Artifact]]:
        """The artifacts of those of the tasks that have passed."""
        if not tasks:
            return {}
        rows = await self._fetch("left", *_columns(tasks))
        return {(row["ticket"], row["task"]): _artifacts(row["artifacts"]) for row in rows}

    async def attempt(self, ticket: str, token: int) -> tuple[str, int] | None:
        """The task and the number of an attempt, if it is known."""
        with translated():
            row = await self._pool.fetchrow(SQL["attempt"], ticket, token)
        return None if row is None else (row["task"], row["number"])

    async def _fetch(self, statement: str, *values: Any) -> Sequence[asyncpg.Record]:
        with translated():
            return await self._pool.fetch(SQL[statement], *values)


def _columns(tasks: Sequence[Key]) -> tuple[list[str], list[str]]:
    return [ticket for ticket, _ in tasks], [task for _, task in tasks]
