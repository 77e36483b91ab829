"""Rows of the views as PostgreSQL takes and gives them."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
from msgspec import Struct

from domain.ticket.automata import TaskState, TicketState
from projections.rows import Attempt, Result, Task, Ticket

R = TypeVar("R", Ticket, Task, Attempt, Result)

JSON: Final = {Ticket: ("labels", "waits_for"), Task: ("spec",), Attempt: ("artifacts",)}
"""The columns that are JSON."""

CHANGING: Final[dict[type[Struct], Sequence[str]]] = {
    Ticket: (
        *("ticket", "state", "priority", "sealed", "deadline", "started_at", "ended_at"),
        *("reason", "superseded_by", "tasks", "waiting", "working", "passed", "failed"),
        *("errored", "dropped", "version", "sequence", "changed_at", "waits_for"),
    ),
    Task: (
        *("ticket", "task", "state", "since", "created", "ready_at", "rank", "attempts"),
        *("token", "worker", "execution", "outcome", "reason", "because", "due"),
    ),
    Attempt: (
        *("ticket", "token", "started_at", "ended_at", "ended", "execution", "outcome"),
        *("reason", "log", "artifacts"),
    ),
}
"""The key of a row and the columns that may change, in the order of the statements."""

_getters: Final[dict[type[Struct], Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*columns) for kind, columns in CHANGING.items()
}
_encode: Final = msgspec.json.Encoder().encode


def columns(kind: type[Struct]) -> Sequence[str]:
    """The columns of a table."""
    return [column.rstrip("_") for column in kind.__struct_fields__]


def written(rows: Sequence[Struct]) -> Iterable[tuple[Any, ...]]:
    """Whole rows, to be inserted."""
    if not rows or type(rows[0]) not in JSON:
        return map(msgspec.structs.astuple, rows)
    kind = type(rows[0])
    places = [kind.__struct_fields__.index(column) for column in JSON[kind]]
    return (_with_json(row, places) for row in rows)


def _with_json(row: Struct, places: Sequence[int]) -> tuple[Any, ...]:
    values = list(msgspec.structs.astuple(row))
    for at in places:
        values[at] = _json(values[at])
    return tuple(values)


def _json(value: Any) -> str:
    """Most lists are empty."""
    return _encode(value).decode() if value or isinstance(value, dict) else "[]"


def changed(rows: Sequence[Struct]) -> list[Sequence[Any]]:
    """Keys and what may have changed, column by column."""
    kind = type(rows[0])
    found: list[Sequence[Any]] = list(zip(*map(_getters[kind], rows), strict=True))
    if CHANGING[kind][-1] in JSON.get(kind, ()):
        found[-1] = [_json(value) for value in found[-1]]
    return found


def read(kind: type[R], record: asyncpg.Record) -> R:
    """A row from the table."""
    row = kind(*record)
    if isinstance(row, Ticket):
        row.state = TicketState(row.state)
        row.labels = msgspec.json.decode(record["labels"])
        row.waits_for = msgspec.json.decode(record["waits_for"])
    elif isinstance(row, Task):
        row.state = TaskState(row.state)
        row.spec = msgspec.Raw(record["spec"].encode())
    elif isinstance(row, Attempt):
        row.artifacts = msgspec.Raw(record["artifacts"].encode())
    return row
