"""Letters in a table: pages, one of them, and how many wait. Two kinds of table have them."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from adapters.dead import REASON, Letter, LetterFilter, Settlement, letter_id, place_of
from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from domain.ticket.commands import Instant
from projections.queries import Large, Page, Small, cursor, place

SQL: Final = load("dead")


class LetterTable:
    """Letters as a select of `sql/dead.sql` finds them. Each page costs an index and its rows."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", select: str) -> None:
        self._pool = pool
        self._select = SQL[select]

    async def page(self, asked: LetterFilter) -> Page[Letter]:
        """Letters, newest first. Raises Invalid for a cursor that is none."""
        text, behind = self.statement(asked)
        with translated():
            rows = await self._pool.fetch(text, *behind)
        page = [_letter(row) for row in rows[: asked.limit]]
        if len(rows) <= asked.limit:
            return Page(page)
        last = rows[asked.limit - 1]
        return Page(page, cursor((last["at"], last["partition"], last["place"])))

    def statement(self, asked: LetterFilter) -> tuple[str, Sequence[Any]]:
        """What finds a page, and one row more if there is another; and its parameters."""
        conditions = f"settled_at IS {'NOT ' if asked.settled else ''}NULL"
        behind: tuple[Any, ...] = ()
        if asked.cursor is not None:
            conditions += " AND (at, partition, place) < ($1, $2, $3)"
            behind = place(asked.cursor, tuple[Instant, Small, Large])
        text = self._text("page").replace("/* conditions */", conditions)
        return f"{text} LIMIT {asked.limit + 1}", behind

    async def find(self, id_: str) -> Letter | None:
        """The letter of this id, if there is one. Raises NoSuchLetter for what is no id."""
        with translated():
            row = await self._pool.fetchrow(self._text("letter"), *place_of(id_))
        return None if row is None else _letter(row)

    async def count(self, partitions: int) -> Sequence[int]:
        """How many are not settled, by partition."""
        with translated():
            rows = await self._pool.fetch(self._text("count"))
        found = {row["partition"]: row["count"] for row in rows}
        return [found.get(n, 0) for n in range(partitions)]

    def _text(self, name: str) -> str:
        return SQL[name].replace("/* letters */", self._select)


def _letter(row: asyncpg.Record) -> Letter:
    partition, place_, at, kind, topic, of, position, stream, type_, command, actor, *rest = row
    reason, size, how, by, settled_at, why = rest
    return Letter(
        id=letter_id(partition, place_),
        at=at,
        kind=kind,
        topic=topic,
        partition=of,
        position=position,
        stream=stream,
        type=type_,
        command=command,
        actor=actor,
        reason=reason[:REASON],
        size=size,
        settled=None if settled_at is None else Settlement(how, by, settled_at, why),
    )
