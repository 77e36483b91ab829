"""The tables of the views of tickets, as what they mean: rows under their keys."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from domain.envelope import Recorded
from domain.ticket.automata import AT_WORK
from projections.rows import Attempt, Result, Task, Ticket
from projections.tickets import Changes, Loaded, Unknown, Views


class Tables:
    """What has been written. Rows are copied in and out, as a database does."""

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.tasks: dict[tuple[str, str], Task] = {}
        self.attempts: dict[tuple[str, int], Attempt] = {}
        self.results: dict[tuple[str, int, int], Result] = {}

    def write(self, changes: Changes) -> None:
        """Insert what is new, update what has changed."""
        _insert(self.tickets, ((row.ticket, row) for row in changes.new_tickets))
        _insert(self.tasks, (((row.ticket, row.task), row) for row in changes.new_tasks))
        _insert(self.attempts, (((row.ticket, row.token), row) for row in changes.new_attempts))
        _insert(self.results, (((row.ticket, row.token, row.n), row) for row in changes.results))
        _update(self.tickets, ((row.ticket, row) for row in changes.tickets))
        _update(self.tasks, (((row.ticket, row.task), row) for row in changes.tasks))
        _update(self.attempts, (((row.ticket, row.token), row) for row in changes.attempts))
        for key in changes.refused:
            self.attempts[key].refused = True
        for ticket, problem in changes.problems:
            self.tickets[ticket].problem = problem

    def load(self, unknown: Unknown) -> Loaded:
        """These rows, with the attempts that are under way."""
        tasks = [
            _copy(row)
            for key, row in self.tasks.items()
            if key in unknown.tasks or (row.ticket in unknown.queues and row.rank is not None)
        ]
        return Loaded(
            [_copy(self.tickets[id_]) for id_ in unknown.tickets],
            tasks,
            [_copy(self.attempts[row.ticket, row.token]) for row in tasks if row.state in AT_WORK],
        )

    def follow(self, batches: Iterable[Sequence[Recorded]], *, forgetful: bool = False) -> None:
        """Fold the batches and write what changes; a forgetful one is another process each time."""
        views = Views(0)
        for batch in batches:
            if forgetful:
                views = Views(0)
            views.load(self.load(views.unknown(batch)))
            for recorded in batch:
                views.fold(recorded)
            self.write(views.changes())


def _copy(row: Any) -> Any:
    copy = msgspec.structs.replace(row)
    if isinstance(copy, Ticket):
        copy.waits_for = list(copy.waits_for)
    return copy


def _insert(table: dict[Any, Any], rows: Iterable[tuple[Any, Any]]) -> None:
    for key, row in rows:
        assert key not in table, f"{key} is there"
        table[key] = _copy(row)


def _update(table: dict[Any, Any], rows: Iterable[tuple[Any, Any]]) -> None:
    for key, row in rows:
        assert key in table, f"{key} is not there"
        refused = getattr(table[key], "refused", None)
        table[key] = _copy(row)
        if refused is not None:
            table[key].refused = refused
