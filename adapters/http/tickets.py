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
from projections.history import History, cancelled, tokens
from projections.queries import (
    AttemptFilter,
    Limit,
    Page,
    QueueFilter,
    ResultFilter,
    TaskFilter,
    TicketFilter,
)
from projections.rows import Attempt, Result, Task, Ticket


class Events(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Events behind version `after`, none behind version `until` or later than `at`."""

    limit: Limit = 100
    after: Annotated[int, Meta(ge=0)] = 0
    until: Annotated[int, Meta(ge=1)] | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None


class Happened(Struct, frozen=True):
    """An event of a ticket, told for people; `seconds` is the time since the one before."""

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
            of_one(one, "A ticket", Ticket, self.ticket),
            of_one(f"{one}/tasks", "Its tasks", Page[Task], self.tasks, TaskFilter),
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

    async def ticket(self, ticket: str) -> Ticket:
        """The ticket. Raises Refusal if there is none."""
        found = await self._queries.ticket(ticket)
        if found is None:
            raise Refusal(404, "unknown-ticket", f"There is no ticket {ticket!r}.", "ticket")
        return found

    async def tasks(self, ticket: str, query: TaskFilter) -> Page[Task]:
        """The ticket's tasks."""
        await self.ticket(ticket)
        return await self._queries.tasks(ticket, query)

    async def attempts(self, ticket: str, query: AttemptFilter) -> Page[Attempt]:
        """AttemptFilter at the ticket's tasks."""
        await self.ticket(ticket)
        return await self._queries.attempts(ticket, query)

    async def events(self, ticket: str, query: Events) -> Page[Happened]:
        """The ticket's events, however many were before; what attempts they tell of, rows say."""
        after = max(0, query.after - 1)
        events = await self._archive.events(
            f"ticket/{ticket}", after, limit=query.limit + 2, until=query.until, at=query.at
        )
        if not events:
            await self.ticket(ticket)
        history = History()
        if query.after and events:
            before, *events = events
            attempts = await self._queries.told(ticket, tokens(events), cancelled(events))
            history = History(before.time, attempts)
        rows = [_happened(event, history.tell(event)) for event in events]
        if len(rows) <= query.limit:
            return Page(rows)
        return Page(rows[: query.limit], str(rows[query.limit - 1].version))

    async def queue(self, query: QueueFilter) -> Page[Task]:
        """What waits for a worker, who is next first."""
        return await self._queries.queue(query)

    async def results(self, query: ResultFilter) -> Page[Result]:
        """What test cases said, newest first."""
        return await self._queries.results(query)


def _happened(event: Recorded, row: Any) -> Happened:
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
