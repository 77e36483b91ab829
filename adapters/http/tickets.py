"""Endpoints that read tickets, their tasks, attempts, results and histories."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct

from adapters.http.endpoint import Endpoint
from adapters.http.problems import Refusal
from adapters.postgres.archive import Archive
from adapters.postgres.views.queries import TicketQueries
from domain.envelope import Recorded
from domain.errors import Invalid
from domain.ticket.commands import Instant
from projections.history import History, Row, cancelled, tokens
from projections.queries import (
    MOST,
    AttemptFilter,
    Limit,
    Page,
    QueueFilter,
    ResultFilter,
    TaskFilter,
    TicketFilter,
)
from projections.rows import Attempt, Result, Task, Ticket
from projections.then import as_it_was, tasks_of
from projections.tickets import KIND, View

Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Events(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most `limit` events behind the page that handed out the `cursor`, which is a version.

    None is behind version `until`, or later than `at`.
    """

    limit: Limit = 100
    cursor: Annotated[int, Meta(ge=0, le=2**31 - 1 - MOST)] = 0
    until: Version | None = None
    at: Instant | None = None


class Then(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As it is now, or as it was at a version or an instant."""

    version: Version | None = None
    at: Instant | None = None


class ThenTasks(TaskFilter, frozen=True, kw_only=True):
    """Tasks as they are now, or as they were at a version or an instant."""

    version: Version | None = None
    at: Instant | None = None


class Happened(Struct, frozen=True):
    """An event, told for people; `seconds` is the time since the one before."""

    version: int
    type: str
    time: datetime
    actor: str
    what: str
    details: tuple[str, ...]
    seconds: float | None
    id: str
    command: str
    sequence: int
    data: Any


class TicketReading:
    """Answers from the views and the archive."""

    def __init__(self, queries: TicketQueries, archive: Archive) -> None:
        self._queries = queries
        self._archive = archive

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be read."""
        tickets, one = "/v1/tickets", "/v1/tickets/{ticket}"
        asks = partial(Endpoint, "GET")
        of_one = partial(asks, problems=(404,))
        return (
            asks(tickets, "Tickets, newest first", Page[Ticket], self.tickets, TicketFilter),
            of_one(one, "A ticket, as it is or as it was", Ticket, self.ticket, Then),
            of_one(f"{one}/tasks", "Its tasks", Page[Task], self.tasks, ThenTasks),
            of_one(
                f"{one}/attempts", "Attempts at it", Page[Attempt], self.attempts, AttemptFilter
            ),
            of_one(f"{one}/events", "What has happened", Page[Happened], self.events, Events),
            asks("/v1/queue", "What waits for a worker", Page[Task], self.queue, QueueFilter),
            asks("/v1/results", "What tests said", Page[Result], self.results, ResultFilter),
        )

    async def tickets(self, query: TicketFilter) -> Page[Ticket]:
        """Tickets, newest first."""
        return await self._queries.tickets(query)

    async def ticket(self, ticket: str, query: Then) -> Ticket:
        """The ticket. Raises Refusal if there is none."""
        if query.version is None and query.at is None:
            return await self._ticket(ticket)
        return (await self._then(ticket, query.version, query.at)).ticket

    async def _ticket(self, ticket: str) -> Ticket:
        found = await self._queries.ticket(ticket)
        if found is None:
            raise Refusal(404, "unknown-ticket", f"There is no ticket {ticket!r}.", "ticket")
        return found

    async def _then(self, ticket: str, version: int | None, at: datetime | None) -> View:
        """The ticket as it was. Raises Refusal if it was not there."""
        if version is not None and at is not None:
            raise Invalid(field="at", reason="there is a version already; give one of them")
        events: list[Recorded] = []
        while some := await self._archive.events(
            f"{KIND}{ticket}", len(events), until=version, at=at
        ):
            events += some
        now = await self._ticket(ticket)
        if not events or (version is not None and len(events) < version):
            then = f"of version {version}" if version is not None else f"at {at}"
            raise Refusal(
                404,
                "unknown-version",
                f"There is no ticket {ticket!r} {then}: it was opened at {now.opened_at} and has "
                f"come to version {now.version}.",
                "at" if version is None else "version",
            )
        view = as_it_was(now.partition, events)
        assert view is not None
        return view

    async def tasks(self, ticket: str, query: ThenTasks) -> Page[Task]:
        """The ticket's tasks."""
        if query.version is None and query.at is None:
            await self._ticket(ticket)
            return await self._queries.tasks(ticket, query)
        view = await self._then(ticket, query.version, query.at)
        return tasks_of(view, query)

    async def attempts(self, ticket: str, query: AttemptFilter) -> Page[Attempt]:
        """AttemptFilter at the ticket's tasks."""
        await self._ticket(ticket)
        return await self._queries.attempts(ticket, query)

    async def events(self, ticket: str, query: Events) -> Page[Happened]:
        """The ticket's events, however many were before; what attempts they tell of, rows say."""
        after = max(0, query.cursor - 1)
        events = await self._archive.events(
            f"{KIND}{ticket}", after, limit=query.limit + 2, until=query.until, at=query.at
        )
        if not events:
            await self._ticket(ticket)
        history = History()
        if query.cursor and events:
            before, *events = events
            attempts = await self._queries.told(ticket, tokens(events), cancelled(events))
            history = History(before.time, attempts)
        rows = [happened(event, history.tell(event)) for event in events]
        if len(rows) <= query.limit:
            return Page(rows)
        return Page(rows[: query.limit], str(rows[query.limit - 1].version))

    async def queue(self, query: QueueFilter) -> Page[Task]:
        """What waits for a worker, who is next first."""
        return await self._queries.queue(query)

    async def results(self, query: ResultFilter) -> Page[Result]:
        """What test cases said, newest first."""
        return await self._queries.results(query)


def happened(event: Recorded, row: Row) -> Happened:
    """The event, as it is told."""
    return Happened(
        version=row.version,
        type=event.event.topic,
        time=row.time,
        actor=row.actor,
        what=row.what,
        details=row.details,
        seconds=None if row.since is None else row.since.total_seconds(),
        id=str(row.id),
        command=str(row.command),
        sequence=row.sequence,
        data=event.event,
    )
