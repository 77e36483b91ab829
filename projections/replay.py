"""Replay: the rows of a ticket or a worker step by step, and what each event changed in them.

The rows are those of the views, so what is read here is what queries answered at that time.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec import Struct

from domain.envelope import Recorded
from projections.history import History, Row
from projections.rows import Attempt, Result, Task, Ticket
from projections.tickets import KIND, View, Views
from projections.workers import Worker, Workers, name_of

_PASSING: Final = {"version", "sequence", "changed_at", "ticket"}
"""Columns that every event changes, or none."""


class Change(Struct, frozen=True):
    """A column of a row has another value: `row` is `ticket`, `task build`, `attempt 4` …"""

    row: str
    column: str
    before: Any
    after: Any


class Step(Struct, frozen=True):
    """An event, told, and what it changed."""

    event: Row
    changes: Sequence[Change]


class Replay:
    """Folds one ticket again, event by event."""

    def __init__(self, partition: int) -> None:
        self._views = Views(partition)
        self._history = History()
        self._rows: dict[str, dict[str, Any]] = {}
        self.view: View | None = None
        """The ticket as it is after the last event."""

    def fold(self, recorded: Recorded) -> Step:
        """One event more. Raises VersionGap if it is not the next one."""
        if self.view is not None:
            self._views.keep(self.view)  # one that has ended was forgotten
        self._views.fold(recorded)
        self.view = self._views.known(recorded.originator_id.removeprefix(KIND))
        return Step(self._history.tell(recorded), list(self._changes()))

    def _changes(self) -> Iterator[Change]:
        """What is not as it was, of the rows that the last event has touched."""
        changes = self._views.changes()
        touched: tuple[Sequence[Ticket | Task | Attempt | Result], ...] = (
            *(changes.new_tickets, changes.tickets, changes.new_tasks, changes.tasks),
            *(changes.new_attempts, changes.attempts, changes.results),
        )
        for row in chain.from_iterable(touched):
            name = _name(row)
            now = msgspec.to_builtins(row)
            yield from compared(name, self._rows.get(name, {}), now)
            self._rows[name] = now

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Every row as it is after the last event, by its name."""
        return dict(self._rows)


class WorkerReplay:
    """Folds one worker again, event by event."""

    def __init__(self, partition: int) -> None:
        self._workers = Workers(partition)
        self._history = History()
        self._row: dict[str, Any] = {}
        self.view: Worker | None = None
        """The worker as it is after the last event."""

    def fold(self, recorded: Recorded) -> Step:
        """One event more. Raises VersionGap if it is not the next one."""
        if self.view is not None:
            self._workers.load([self.view])  # one that is gone was forgotten
        self._workers.fold(recorded)
        self.view = self._workers.known(name_of(recorded))
        self._workers.changes()
        before, self._row = self._row, msgspec.to_builtins(self.view)
        return Step(self._history.tell(recorded), list(compared("worker", before, self._row)))

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The row as it is after the last event, by its name."""
        return {"worker": self._row}


def replay(partition: int, events: Iterable[Recorded]) -> Iterator[Step]:
    """The steps of a ticket's events, its first ones in order."""
    folding = Replay(partition)
    return (folding.fold(recorded) for recorded in events)


def compared(row: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """What of a row is not as it was; of a new row, what is there."""
    for column in after:
        if column in _PASSING:
            continue
        was, now = before.get(column), after[column]
        if was != now and not (column not in before and now in (None, "", 0, False, [], {})):
            yield Change(row, column, was, now)


def difference(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> Iterator[Change]:
    """What lies between two states of a ticket, the earlier one first."""
    for name, row in after.items():
        yield from compared(name, before.get(name, {}), row)


def _name(row: Ticket | Task | Attempt | Result) -> str:
    match row:
        case Ticket():
            return "ticket"
        case Task():
            return f"task {row.task}"
        case Attempt():
            return f"attempt {row.token}"
        case Result():
            return f"result {row.token}.{row.n}"
