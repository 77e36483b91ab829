"""Queries of the views of tickets. Each costs an index and as many rows as it returns.

Where one of several values will do, each is asked for by itself: for one value an index has the
rows in the order of the page, for several it has not.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from adapters.postgres.views.rows import read
from domain.errors import Invalid
from domain.ticket.commands import Instant
from domain.ticket.words import Outcome
from projections.queries import (
    AttemptFilter,
    Page,
    QueueFilter,
    ResultFilter,
    Small,
    TaskFilter,
    TicketFilter,
    Word,
    cursor,
    place,
)
from projections.rows import Attempt, Result, Task, Ticket

R = TypeVar("R", Ticket, Task, Attempt, Result)

SQL: Final = load("queries")


class Conditions:
    """Conditions of a statement, with their values as parameters."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._texts: list[str] = []

    def add(self, text: str, *values: Any) -> None:
        """One more, in which `?` stands for each value."""
        for value in values:
            self.values.append(value)
            text = text.replace("?", f"${len(self.values)}", 1)
        self._texts.append(text)

    def equal(self, **columns: Any) -> None:
        """The columns for which there is a value must have it."""
        for column, value in columns.items():
            if value is not None:
                self.add(f"{column.rstrip('_')} = ?", value)

    def among(self, column: str, values: Sequence[str]) -> None:
        """The column has one of the values, if there are any."""
        if values:
            self.add(f"{column} = ANY (?::text[])", list(values))

    def labels(self, labels: Sequence[str]) -> None:
        """There are all of these, `name=value`.

        They are one condition, since the statistics know which labels go together.
        """
        wanted: dict[str, str] = {}
        for label in labels:
            name, _, value = label.partition("=")
            if wanted.setdefault(name, value) != value:
                self.add("false")
        if wanted:
            self.add("labels @> ?::jsonb", msgspec.json.encode(wanted).decode())

    def between(self, column: str, since: datetime | None, before: datetime | None) -> None:
        """The instant lies between these."""
        if since is not None:
            self.add(f"{column} >= ?", since)
        if before is not None:
            self.add(f"{column} < ?", before)

    def __str__(self) -> str:
        return " AND ".join(self._texts) or "true"


class TicketQueries:
    """Asks through a pool whose path has the views. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def ticket(self, id_: str) -> Ticket | None:
        """The ticket, if it is there."""
        where = Conditions()
        where.equal(ticket=id_)
        rows = await self._rows("tickets", Ticket, where, 1)
        return rows[0] if rows else None

    async def tickets(self, asked: TicketFilter) -> Page[Ticket]:
        """Tickets, newest first."""
        where = Conditions()
        where.equal(
            project=asked.project, kind=asked.kind, name=asked.name, revision=asked.revision
        )
        where.labels(asked.label)
        where.between("opened_at", asked.since, asked.before)
        if asked.cursor is not None:
            where.add("(opened_at, ticket) < (?, ?)", *place(asked.cursor, tuple[Instant, Word]))
        return _page(
            await self._rows("tickets", Ticket, where, asked.limit + 1, state=asked.state),
            asked.limit,
            lambda row: (row.opened_at, row.ticket),
        )

    async def tasks(self, ticket: str, asked: TaskFilter) -> Page[Task]:
        """Tasks of a ticket, in the order of its workflow."""
        where = Conditions()
        where.equal(ticket=ticket)
        where.among("state", asked.state)
        if asked.cursor is not None:
            where.add("n > ?", *place(asked.cursor, tuple[Small]))
        rows = await self._rows("tasks", Task, where, asked.limit + 1)
        return _page(rows, asked.limit, lambda row: (row.n,))

    async def queue(self, asked: QueueFilter) -> Page[Task]:
        """What waits for a worker, who is next first."""
        where = Conditions()
        where.add("rank IS NOT NULL")
        where.equal(project=asked.project, class_=asked.class_)
        if asked.cursor is not None:
            where.add(
                "(rank, ticket, task) > (?, ?, ?)", *place(asked.cursor, tuple[float, Word, Word])
            )
        rows = await self._rows("queue", Task, where, asked.limit + 1)
        return _page(rows, asked.limit, lambda row: (row.rank, row.ticket, row.task))

    async def attempts(self, ticket: str, asked: AttemptFilter) -> Page[Attempt]:
        """Attempts of a ticket, in the order of their tokens."""
        where = Conditions()
        where.equal(ticket=ticket, task=asked.task)
        if asked.cursor is not None:
            where.add("token > ?", *place(asked.cursor, tuple[Small]))
        rows = await self._rows("attempts", Attempt, where, asked.limit + 1)
        return _page(rows, asked.limit, lambda row: (row.token,))

    async def told(
        self, ticket: str, tokens: Collection[int], cancelled: Collection[datetime]
    ) -> Sequence[Attempt]:
        """Attempts of a ticket by their tokens, and those that were cancelled at these times."""
        with translated():
            found = await self._pool.fetch(SQL["attempts_told"], ticket, tokens)
            if cancelled:
                found += await self._pool.fetch(SQL["attempts_cancelled"], ticket, cancelled)
        return [read(Attempt, record) for record in found]

    async def results(self, asked: ResultFilter) -> Page[Result]:
        """Results, newest first. Raises Invalid if neither ticket nor test case is named."""
        if asked.ticket is None and asked.testcase is None:
            raise Invalid(field="testcase", reason="name a test case, or a ticket")
        where = Conditions()
        where.equal(
            ticket=asked.ticket,
            task=asked.task,
            testcase=asked.testcase,
            project=asked.project,
        )
        if asked.ticket is None and asked.project is None:
            outcomes = asked.outcome or tuple(Outcome)
        else:
            outcomes = ()
            where.among("outcome", asked.outcome)
        where.between("at", asked.since, asked.before)
        if asked.cursor is not None:
            where.add(
                "(at, ticket, token, n) < (?, ?, ?, ?)",
                *place(asked.cursor, tuple[Instant, Word, Small, Small]),
            )
        rows = await self._rows("results", Result, where, asked.limit + 1, outcome=outcomes)
        return _page(rows, asked.limit, lambda row: (row.at, row.ticket, row.token, row.n))

    async def positions(self) -> Sequence[int]:
        """The sequence of the last event that is in the views, by partition."""
        with translated():
            return [row["sequence"] for row in await self._pool.fetch(SQL["positions"])]

    async def _rows(
        self,
        statement: str,
        kind: type[R],
        where: Conditions,
        limit: int,
        **any_of: Sequence[str],
    ) -> list[R]:
        """The first rows; *any_of* names a column, and values one of which it must have."""
        select = SQL[statement].rstrip()
        [(column, given)] = any_of.items() or [("", ())]
        values = tuple(dict.fromkeys(given))  # a row is found once, however often it is asked for
        first = len(where.values) + 1
        each = [f"{where} AND {column} = ${n}" for n in range(first, first + len(values))]
        text = " UNION ALL ".join(
            f"({select.replace('/* conditions */', one)} LIMIT {limit})"
            for one in each or [str(where)]
        )
        if len(each) > 1:
            order = select[select.index("ORDER BY") :]
            text = f"SELECT * FROM ({text}) AS found {order} LIMIT {limit}"
        with translated():
            found = await self._pool.fetch(text, *where.values, *values)
        return [read(kind, record) for record in found]


def _page(rows: list[R], limit: int, place_of: Callable[[R], tuple[Any, ...]]) -> Page[R]:
    if len(rows) <= limit:
        return Page(rows)
    return Page(rows[:limit], cursor(place_of(rows[limit - 1])))
