"""What telling of an event needs beside the event: its project, and which attempt it is about."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import asyncpg
from msgspec import Struct

from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from domain.envelope import Recorded
from domain.ticket.events import TaskClaimed, TicketOpened

SQL: Final = load("queries")

REMEMBERED: Final = 50_000
"""Tickets whose project is remembered; it never changes."""


class Attempted(Struct, frozen=True):
    """An attempt: which one of its task, and the word of the event that it came from."""

    ticket: str
    token: int
    task: str
    number: int
    worker: str
    created: str


class Known(Struct, frozen=True):
    """What the views know of some events."""

    projects: Mapping[str, str]
    attempts: Mapping[tuple[str, int], Attempted]

    def attempt(self, recorded: Recorded) -> Attempted | None:
        """The attempt that the event is about."""
        return self.attempts.get((_ticket(recorded), _token(recorded) or 0))


class Telling:
    """Asks the views through a pool, in bulk. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._projects: dict[str, str] = {}

    async def known(self, events: Sequence[Recorded]) -> Known:
        """What the views know of these events of tickets."""
        if len(self._projects) > REMEMBERED:
            self._projects = {}
        projects = self._projects
        for event in events:
            if isinstance(event.event, TicketOpened):
                projects[_ticket(event)] = event.event.subject.project
        tickets = {_ticket(event) for event in events}
        if unknown := tickets - projects.keys():
            with translated():
                rows = await self._pool.fetch(SQL["projects"], list(unknown))
            projects.update((row["ticket"], row["project"]) for row in rows)
        attempts: dict[tuple[str, int], Attempted] = {}
        if shown := sorted(set(_shown(events))):
            with translated():
                for row in await self._pool.fetch(SQL["attempted"], *zip(*shown, strict=True)):
                    attempts[row["ticket"], row["token"]] = Attempted(*row)
        return Known({ticket: projects.get(ticket, "") for ticket in tickets}, attempts)


def _shown(events: Sequence[Recorded]) -> Iterator[tuple[str, int]]:
    for event in events:
        token = _token(event)
        if token is not None:
            yield _ticket(event), token


def _token(recorded: Recorded) -> int | None:
    """The token of the attempt that the event is about; a claim's is its version."""
    if isinstance(recorded.event, TaskClaimed):
        return recorded.originator_version
    return getattr(recorded.event, "token", None)


def _ticket(recorded: Recorded) -> str:
    return recorded.originator_id.partition("/")[2]
