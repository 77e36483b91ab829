"""What can be asked of a server without changing anything."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from .connection import Connection, Query, path
from .logs import followed, pieces, size_of
from .rows import (
    Attempt,
    Busy,
    DeadLetter,
    Event,
    OpenedLetter,
    Page,
    Result,
    Task,
    Ticket,
    Token,
    Worker,
)
from .working import Artifact

T = TypeVar("T")

PAGE: Final = 500
"""Rows that are asked for at a time."""

Words = str | Sequence[str]
"""One, or several of which one must hold."""


class Reading:
    """Lists are read page by page, as one goes on.

    With `after`, as `Accepted` and `Change` have it, the answer shows at least that.

    Raises:
        NotFound: there is no such thing.
        Invalid: the question is wrong.
        Unavailable: nobody has answered in time.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def ticket(
        self,
        ticket: str,
        *,
        version: int | None = None,
        at: datetime | None = None,
        after: str | None = None,
    ) -> Ticket:
        """The ticket as it is; as it was at a version, or at a time."""
        query = {"version": version, "at": at, "after": after}
        return await self.connection.ask("GET", path("tickets", ticket), Ticket, query=query)

    def tickets(
        self,
        *,
        state: Words = (),
        project: str | None = None,
        kind: str | None = None,
        name: str | None = None,
        revision: str | None = None,
        label: Words = (),
        since: datetime | None = None,
        before: datetime | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Ticket]:
        """Tickets, newest first. A label is `name=value`; all of them must hold.

        `since` and `before` are about when a ticket was opened.
        """
        query = {
            "state": state,
            "project": project,
            "kind": kind,
            "name": name,
            "revision": revision,
            "label": label,
            "since": since,
            "before": before,
            "after": after,
        }
        return self._pages(Ticket, path("tickets"), query)

    def tasks(
        self,
        ticket: str,
        *,
        state: Words = (),
        version: int | None = None,
        at: datetime | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Task]:
        """The ticket's tasks in the order of its workflow, as they are or as they were."""
        query = {"state": state, "version": version, "at": at, "after": after}
        return self._pages(Task, path("tickets", ticket, "tasks"), query)

    def attempts(
        self, ticket: str, *, task: str | None = None, after: str | None = None
    ) -> AsyncIterator[Attempt]:
        """The attempts at the ticket's tasks, in their order."""
        query = {"task": task, "after": after}
        return self._pages(Attempt, path("tickets", ticket, "attempts"), query)

    async def events(
        self,
        ticket: str,
        *,
        version: int = 0,
        until: int | None = None,
        at: datetime | None = None,
    ) -> AsyncIterator[Event]:
        """What has happened behind this version, until another, and not later than `at`."""
        async for event in self._events(path("tickets", ticket, "events"), version, until, at):
            yield event

    async def worker_events(
        self,
        worker: str,
        *,
        version: int = 0,
        until: int | None = None,
        at: datetime | None = None,
    ) -> AsyncIterator[Event]:
        """What has happened to a worker, as `events` tells it of a ticket."""
        async for event in self._events(path("workers", worker, "events"), version, until, at):
            yield event

    async def _events(
        self, of: str, version: int, until: int | None, at: datetime | None
    ) -> AsyncIterator[Event]:
        query = {"until": until, "at": at, "limit": PAGE}
        while True:
            more = query | {"cursor": version}
            page = await self.connection.ask("GET", of, Page[Event], query=more)
            for event in page.rows:
                yield event
            if page.next is None:
                return
            version = int(page.next)

    def queue(
        self, *, project: str | None = None, class_: str | None = None, after: str | None = None
    ) -> AsyncIterator[Task]:
        """What waits for a worker, who is next first; `class_` as the rows have it."""
        return self._pages(
            Task, path("queue"), {"project": project, "class": class_, "after": after}
        )

    def results(
        self,
        *,
        ticket: str | None = None,
        task: str | None = None,
        testcase: str | None = None,
        project: str | None = None,
        outcome: Words = (),
        since: datetime | None = None,
        before: datetime | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Result]:
        """What tests said, newest first; of a ticket, or of a test case."""
        query = {
            "ticket": ticket,
            "task": task,
            "testcase": testcase,
            "project": project,
            "outcome": outcome,
            "since": since,
            "before": before,
            "after": after,
        }
        return self._pages(Result, path("results"), query)

    def workers(self, *, state: Words = (), after: str | None = None) -> AsyncIterator[Worker]:
        """Workers, by their names, also those that are gone."""
        return self._pages(Worker, path("workers"), {"state": state, "after": after})

    async def worker(self, worker: str, *, after: str | None = None) -> Busy:
        """A worker, with the attempts that it has under way."""
        query = {"after": after}
        return await self.connection.ask("GET", path("workers", worker), Busy, query=query)

    def log(
        self, ticket: str, of: str | int, *, start: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """What the newest attempt at a task has said, or the attempt of a token, in pieces.

        It begins at byte `start`, or so many before the end if that is negative. To `follow` it
        until it ends one names the token, and begins at the beginning or behind it.
        """
        if isinstance(of, str):
            if follow:
                raise ValueError("it is an attempt that is followed: name its token")
            return pieces(self.connection, path("tickets", ticket, "tasks", of, "log"), start)
        log = path("tickets", ticket, "attempts", str(of), "log")
        if follow:
            return followed(self.connection, f"{log}/stream", max(0, start))
        return pieces(self.connection, log, start)

    async def log_size(self, ticket: str, token: int) -> int:
        """How many bytes the attempt of this token has said by now."""
        log = path("tickets", ticket, "attempts", str(token), "log")
        return await size_of(self.connection, log)

    async def artifacts(self, ticket: str, token: int) -> tuple[Artifact, ...]:
        """What the attempt of this token has left."""
        artifacts = path("tickets", ticket, "attempts", str(token), "artifacts")
        return (await self.connection.ask("GET", artifacts, Page[Artifact])).rows

    def artifact(self, digest: str) -> AsyncIterator[bytes]:
        """What has this digest, in pieces."""
        return pieces(self.connection, path("artifacts", digest))

    async def automaton(self) -> dict[str, Any]:
        """The automata: their states, and what leads from one to another."""
        return await self._look("automaton")

    async def partitions(self) -> dict[str, Any]:
        """How far each partition of the log, and each view of it, has come."""
        return await self._look("partitions")

    async def health(self) -> dict[str, Any]:
        """Whether a server answers at all; of the service it says nothing."""
        return await self._look("health")

    async def ready(self) -> dict[str, Any]:
        """Wait until the service does its work. Raises Unavailable, which says what is wrong."""
        return await self._look("ready")

    def tokens(self) -> AsyncIterator[Token]:
        """The tokens that there are, without their secrets."""
        return self._pages(Token, path("tokens"), {})

    def dead_letters(self, *, settled: bool | None = None) -> AsyncIterator[DeadLetter]:
        """What was put aside and waits for somebody, or what has been `settled`; newest first."""
        query = {"settled": None if settled is None else str(settled).lower()}
        return self._pages(DeadLetter, path("dead"), query)

    async def dead_letter(self, letter: str) -> OpenedLetter:
        """One of them, with what it holds."""
        return await self.connection.ask("GET", path("dead", letter), OpenedLetter)

    async def _look(self, *parts: str) -> dict[str, Any]:
        return await self.connection.ask("GET", path(*parts), dict[str, Any])

    async def _pages(self, kind: type[T], of: str, query: Query) -> AsyncIterator[T]:
        more: dict[str, Any] = {**query, "limit": PAGE}
        while True:
            page = await self.connection.ask("GET", of, Page[kind], query=more)  # type: ignore[valid-type] # a type that is known here only
            for row in page.rows:
                yield row
            if page.next is None:
                return
            more |= {"cursor": page.next, "after": None}
