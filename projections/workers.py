"""The view of workers: the fold from events to rows, one for each name that was ever registered.

    workers = Workers(0)          what is known of those of a partition
    workers.fold(recorded)        one event more
    workers.changes()             the rows that have changed since, to be written

What is not known here is loaded from the rows (`unknown` names those); who is gone is forgotten.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from domain.envelope import Recorded
from domain.event import CommandNoted, Event
from domain.stream import VersionGap
from domain.worker import events as e
from domain.worker.automata import WORKER, WorkerState
from projections.queries import Paged

KIND: Final = "worker/"


class Worker(Struct):
    """A worker as it is now, or as it was when its `session` ended. Instants are UTC.

    It is in its state `since` then, for the `reason`. Its present session registered at
    `registered_at`, and takes tasks for which it has the `capabilities`, as many at once as it has
    `slots`. `version` and `sequence` are those of its last event. A worker with a `problem` could
    not be folded on.
    """

    worker: str
    partition: int
    state: WorkerState
    session: str
    home: str
    capabilities: dict[str, tuple[str, ...]]
    slots: int
    registered_at: datetime
    since: datetime
    reason: str = ""
    version: int = 0
    sequence: int = 0
    problem: str | None = None


class WorkerFilter(Paged, frozen=True, kw_only=True):
    """Which workers, in the order of their names: in one of those states, if there are any."""

    state: tuple[WorkerState, ...] = ()


def concerns(recorded: Recorded) -> bool:
    """Whether the event is of a worker."""
    return recorded.originator_id.startswith(KIND)


def name_of(recorded: Recorded) -> str:
    """The worker that the event is of."""
    return recorded.originator_id[len(KIND) :]


class Workers:
    """The rows of the workers of one partition, as far as they are needed."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._rows: dict[str, Worker] = {}
        self._changed: dict[str, Worker] = {}

    def unknown(self, events: Iterable[Recorded]) -> set[str]:
        """The workers whose rows must be loaded before these events of workers can be folded."""
        return {name_of(recorded) for recorded in events} - self._rows.keys()

    def load(self, rows: Iterable[Worker]) -> None:
        """Know these, as their rows say."""
        for row in rows:
            self._rows[row.worker] = row

    def known(self, name: str) -> Worker:
        """The row of a worker that is known."""
        return self._rows[name]

    def fold(self, recorded: Recorded) -> None:
        """Change by one event of a worker.

        Raises VersionGap, and KeyError for an event that its state does not permit: then the row
        is as it was, and is to be put aside by `quarantine`.
        """
        name, event, kind = name_of(recorded), recorded.event, type(recorded.event)
        row = self._rows.get(name)
        if row is not None and row.problem is not None:
            return
        version = 0 if row is None else row.version
        if recorded.originator_version != version + 1:
            raise VersionGap(recorded.originator_id, version, recorded.originator_version)
        if kind is not CommandNoted:
            state = WORKER.successor(WorkerState.ABSENT if row is None else row.state, kind)
            row = _FOLD[kind](self._partition, row, name, event, recorded)
            if row.state is not state:
                row.state, row.since = state, recorded.time
        assert row is not None
        row.version = recorded.originator_version
        row.sequence = recorded.sequence
        self._rows[name] = self._changed[name] = row

    def quarantine(self, name: str, problem: str) -> None:
        """Fold the worker no more, leave its row as it is, and say why."""
        if (row := self._rows.get(name)) is not None:
            row.problem = problem
            self._changed[name] = row

    def changes(self) -> Sequence[Worker]:
        """The rows that have changed since the last call. Who is gone is forgotten."""
        changed = list(self._changed.values())
        for row in changed:
            if row.state is WorkerState.GONE:
                del self._rows[row.worker]
        self._changed = {}
        return changed


def _registered(
    partition: int, row: Worker | None, name: str, event: e.WorkerRegistered, recorded: Recorded
) -> Worker:
    anew = Worker(
        worker=name,
        partition=partition,
        state=WorkerState.ABSENT if row is None else row.state,
        session=event.session,
        home=event.home,
        capabilities=event.capabilities,
        slots=event.slots,
        registered_at=recorded.time,
        since=recorded.time if row is None else row.since,
    )
    if row is None:
        return anew
    if row.state is WorkerState.DRAINING:
        anew.reason = row.reason
    if row.session == anew.session and row.state is not WorkerState.GONE:
        anew.registered_at = row.registered_at
    return anew


def _moved(partition: int, row: Worker | None, name: str, event: Any, recorded: Recorded) -> Worker:
    assert row is not None
    return msgspec.structs.replace(row, reason=event.reason)


_FOLD: Final[dict[type[Event], Callable[[int, Worker | None, str, Any, Recorded], Worker]]] = {
    e.WorkerRegistered: _registered,
    e.WorkerDraining: _moved,
    e.WorkerResumed: _moved,
    e.WorkerGone: _moved,
}
