"""What a ticket is, folded from its events: `evolve`. Every change of state is an edge's.

The cost of an event does not grow with the number of tasks: counts are kept, never taken.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from domain.envelope import Recorded
from domain.event import Event
from domain.sharing import Shared
from domain.ticket import events as e
from domain.ticket.automata import (
    AT_WORK,
    OPEN,
    TASK,
    TASK_ENDED,
    TICKET,
    TaskState,
    TicketState,
)
from domain.ticket.words import Execution, Outcome, Precedence
from domain.workflow import Requirements, TaskSpec, Timeouts

WORD: Final = {event: sys.intern(event.topic.rpartition(".")[2]) for event in e.EVENTS}
"""The word for an event, where attempts tell why they began and ended."""

_ended: Final = frozenset(TASK_ENDED)
_at_work: Final = frozenset(AT_WORK)
_open: Final = frozenset(OPEN)
_closed: Final = frozenset(TicketState) - _open - {TicketState.ABSENT}


class Attempt(Struct, gc=False):
    """One execution of a task. `created` and `ended` are the words of the events at fault."""

    token: int
    worker: str
    request: str
    lease: float
    created: str
    claimed_at: datetime
    started_at: datetime | None = None
    ended: str | None = None
    execution: Execution | None = None
    outcome: Outcome | None = None
    refused: bool = False


_requirements: Final = Shared[Requirements]()
_timeouts: Final = Shared[Timeouts]()


class Task(Struct, gc=False):
    """One unit of scheduling. `waiting` counts the needs that have not passed.

    `gated` is one that its workflow holds. `retried` and `unstarted` count what was spent of the
    two budgets since the last reset. `blames` is what the ticket ends as because of this task if
    nothing worse happens, `because` the task that it needed in vain, if it was skipped for that.
    """

    needs: tuple[str, ...]
    requires: Requirements
    timeouts: Timeouts
    retries: int
    required: bool
    body: bytes
    waiting: int
    since: datetime
    created: str
    gated: bool
    state: TaskState = TaskState.ABSENT
    dependants: list[str] = []
    attempts: list[Attempt] = []
    retried: int = 0
    unstarted: int = 0
    blames: TicketState | None = None
    because: str | None = None

    def __post_init__(self) -> None:
        self.requires = _requirements.of(tuple(self.requires.items()), self.requires)
        self.timeouts = _timeouts.of(self.timeouts, self.timeouts)

    @property
    def has_ended(self) -> bool:
        """Whether it will not run any more, unless it is run again."""
        return self.state in _ended

    @property
    def at_work(self) -> bool:
        """Whether an attempt is under way."""
        return self.state in _at_work

    def attempt(self, token: int) -> Attempt | None:
        """The attempt that the token belongs to, over or not."""
        return next((a for a in reversed(self.attempts) if a.token == token), None)

    def holds(self, token: int) -> bool:
        """Whether the token is that of the present attempt."""
        return self.at_work and self.attempts[-1].token == token

    def verdict(self, state: TaskState) -> TicketState | None:
        """What the ticket must end as if this task ends in *state* by itself."""
        return _VERDICTS.get(state) if self.required else None


_VERDICTS: Final = {
    TaskState.FAILED: TicketState.FAILED,
    TaskState.TIMED_OUT: TicketState.FAILED,
    TaskState.ERRORED: TicketState.ERRORED,
    TaskState.CANCELLED: TicketState.CANCELLED,
}


def verdict_of_skip(task: Task, root: Task, root_state: TaskState) -> TicketState | None:
    """What the ticket must end as if *task* is skipped because of *root*.

    A required root speaks for itself, and one that had nothing to do excuses. But a required
    task that could not run because an optional one ended badly must not pass unnoticed.
    """
    if not task.required or root.required:
        return None
    verdict = _VERDICTS.get(root_state)
    return TicketState.ERRORED if verdict is TicketState.FAILED else verdict


class Ticket(Struct, gc=False):
    """The aggregate. `unfinished` counts tasks; `failed`, `errored`, `cancelled` count blame.

    `waits_for` are the tickets that have not passed since it waits for them: they outlive its end,
    so that it waits again when it is run again.
    """

    state: TicketState = TicketState.ABSENT
    tasks: dict[str, Task] = {}
    body: bytes = b""
    sealed: bool = False
    priority: int = 0
    not_before: datetime | None = None
    deadline: datetime | None = None
    lifetime: timedelta = timedelta()
    supersedes: Precedence | None = None
    waits_for: list[str] = []
    unfinished: int = 0
    failed: int = 0
    errored: int = 0
    cancelled: int = 0

    @property
    def exists(self) -> bool:
        """Whether it was opened."""
        return self.state is not TicketState.ABSENT

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in _open

    @property
    def may_begin(self) -> bool:
        """Whether nothing but its own tasks stands in the way of its tasks."""
        return self.sealed and not self.waits_for

    def is_lost(self, name: str) -> bool:
        """Whether the task has ended in a way that nothing which needs it can run."""
        task = self.tasks[name]
        return task.has_ended and task.state is not TaskState.PASSED

    def root(self, name: str) -> str:
        """The task because of which this lost one was skipped; itself, if it ended by itself."""
        return self.tasks[name].because or name

    def enter(self, task: Task, state: TaskState, at: datetime) -> None:
        """Put the task into the state, and count it."""
        if task.state in _ended:
            self.unfinished += 1
            self._blame(task, -1)
            task.blames = task.because = None
            if task.state is TaskState.PASSED:
                for name in task.dependants:
                    self.tasks[name].waiting += 1
        if state in _ended:
            self.unfinished -= 1
            if state is TaskState.PASSED:
                for name in task.dependants:
                    self.tasks[name].waiting -= 1
        task.state = state
        task.since = at

    def blame(self, task: Task, verdict: TicketState | None) -> None:
        """The task has ended, and this is what the ticket must end as for it."""
        task.blames = verdict
        self._blame(task, 1)

    def _blame(self, task: Task, n: int) -> None:
        match task.blames:
            case TicketState.FAILED:
                self.failed += n
            case TicketState.ERRORED:
                self.errored += n
            case TicketState.CANCELLED:
                self.cancelled += n
            case _:
                pass


def has_ended(ticket: Ticket) -> bool:
    """Whether it came to its end; it may be run again, repeated commands and late reports come."""
    return ticket.state in _closed


def evolve(ticket: Ticket, recorded: Recorded) -> None:
    """Change the ticket by one event."""
    event = recorded.event
    kind = type(event)
    if kind in TICKET.events:
        ticket.state = TICKET.successor(ticket.state, kind)
    _EVOLVE[kind](ticket, event, recorded)


def _opened(ticket: Ticket, event: e.TicketOpened, recorded: Recorded) -> None:
    ticket.body = event.body
    ticket.sealed = event.sealed
    ticket.priority = event.priority
    ticket.not_before = event.not_before
    ticket.deadline = event.deadline
    ticket.lifetime = event.deadline - recorded.time
    ticket.supersedes = event.supersedes
    ticket.waits_for = list(event.waits_for)
    _add(ticket, event.tasks, event.body, recorded)


def _added(ticket: Ticket, event: e.TasksAdded, recorded: Recorded) -> None:
    _add(ticket, event.tasks, event.body, recorded)


def _add(ticket: Ticket, specs: Sequence[TaskSpec], body: bytes, recorded: Recorded) -> None:
    kind, at = type(recorded.event), recorded.time
    tasks = ticket.tasks
    for spec in specs:
        task = tasks[sys.intern(spec.name)] = Task(
            needs=spec.needs,
            requires=spec.requires,
            timeouts=spec.timeouts,
            retries=spec.retries,
            required=spec.required,
            body=body,
            waiting=len(spec.needs),
            since=at,
            created=WORD[kind],
            gated=spec.held,
        )
        task.state = TASK.successor(task.state, kind)
    for spec in specs:
        task = tasks[spec.name]
        for name in spec.needs:
            need = tasks[name]
            need.dependants.append(spec.name)
            task.waiting -= need.state is TaskState.PASSED
    ticket.unfinished += len(specs)


def _sealed(ticket: Ticket, event: e.TicketSealed, recorded: Recorded) -> None:
    ticket.sealed = True


def _priority_changed(ticket: Ticket, event: e.PriorityChanged, recorded: Recorded) -> None:
    ticket.priority = event.priority


def _awaited_passed(ticket: Ticket, event: e.AwaitedPassed, recorded: Recorded) -> None:
    ticket.waits_for.remove(event.ticket)


def _many_moved(ticket: Ticket, event: Any, recorded: Recorded) -> None:
    for task in _tasks(ticket, event.tasks):
        ticket.enter(task, TASK.successor(task.state, type(event)), recorded.time)


def _claimed(ticket: Ticket, event: e.TaskClaimed, recorded: Recorded) -> None:
    task = ticket.tasks[event.task]
    ticket.enter(task, TASK.successor(task.state, e.TaskClaimed), recorded.time)
    task.attempts.append(
        Attempt(
            token=recorded.originator_version,
            worker=event.worker,
            request=event.request,
            lease=event.lease,
            created=task.created,
            claimed_at=recorded.time,
        )
    )


def _started(ticket: Ticket, event: e.TaskStarted, recorded: Recorded) -> None:
    task = ticket.tasks[event.task]
    ticket.enter(task, TASK.successor(task.state, e.TaskStarted), recorded.time)
    task.attempts[-1].started_at = recorded.time


def _attempt_over(ticket: Ticket, event: Any, recorded: Recorded) -> None:
    """The attempt is over, and the task waits for the next."""
    task = ticket.tasks[event.task]
    kind = type(event)
    attempt = task.attempts[-1]
    if kind is e.TaskRetried or (kind is e.LeaseLost and attempt.started_at is not None):
        task.retried += 1
    elif kind is not e.ClaimRevoked:
        task.unstarted += 1
    _end_attempt(task, event)
    task.created = WORD[kind]
    ticket.enter(task, TASK.successor(task.state, kind), recorded.time)


def _task_over(ticket: Ticket, event: Any, recorded: Recorded) -> None:
    """The task has ended, with an attempt if one was under way."""
    task = ticket.tasks[event.task]
    if task.at_work:
        _end_attempt(task, event)
    ticket.enter(task, TASK.successor(task.state, type(event)), recorded.time)
    ticket.blame(task, task.verdict(task.state))


def _end_attempt(task: Task, event: Any) -> None:
    attempt = task.attempts[-1]
    attempt.ended = WORD[type(event)]
    attempt.execution = getattr(event, "execution", None)
    attempt.outcome = getattr(event, "outcome", None)


def _skipped(ticket: Ticket, event: e.TasksSkipped, recorded: Recorded) -> None:
    root = ticket.tasks[event.because]
    for task in _tasks(ticket, event.tasks):
        ticket.enter(task, TASK.successor(task.state, e.TasksSkipped), recorded.time)
        ticket.blame(task, verdict_of_skip(task, root, root.state))
        task.because = event.because


def _cancelled(ticket: Ticket, event: e.TasksCancelled, recorded: Recorded) -> None:
    for task in _tasks(ticket, event.tasks):
        if task.at_work:
            _end_attempt(task, event)
        ticket.enter(task, TASK.successor(task.state, e.TasksCancelled), recorded.time)
        ticket.blame(task, task.verdict(task.state))


def _reset(ticket: Ticket, event: e.TasksReset, recorded: Recorded) -> None:
    if event.deadline is not None:
        ticket.deadline = event.deadline
    for task in _tasks(ticket, event.tasks):
        ticket.enter(task, TASK.successor(task.state, e.TasksReset), recorded.time)
        task.retried = task.unstarted = 0
        task.created = WORD[e.TasksReset]


def _report_refused(ticket: Ticket, event: e.ReportRefused, recorded: Recorded) -> None:
    attempt = ticket.tasks[event.task].attempt(event.token)
    if attempt is not None:
        attempt.refused = True


def _ticket_over(ticket: Ticket, event: Event, recorded: Recorded) -> None:
    """The automaton has moved; nothing else changes."""


def _tasks(ticket: Ticket, names: Iterable[str]) -> Iterable[Task]:
    return (ticket.tasks[name] for name in names)


_EVOLVE: Final[dict[type[Event], Callable[[Ticket, Any, Recorded], None]]] = {
    e.TicketOpened: _opened,
    e.TasksAdded: _added,
    e.TicketSealed: _sealed,
    e.PriorityChanged: _priority_changed,
    e.AwaitedPassed: _awaited_passed,
    e.TasksReady: _many_moved,
    e.TasksHeld: _many_moved,
    e.TasksUnheld: _many_moved,
    e.TaskClaimed: _claimed,
    e.TaskStarted: _started,
    e.LeaseLost: _attempt_over,
    e.ClaimReturned: _attempt_over,
    e.ClaimRevoked: _attempt_over,
    e.TaskRetried: _attempt_over,
    e.TaskPassed: _task_over,
    e.TaskFailed: _task_over,
    e.TaskTimedOut: _task_over,
    e.TaskSkipped: _task_over,
    e.TaskErrored: _task_over,
    e.TasksSkipped: _skipped,
    e.TasksCancelled: _cancelled,
    e.TasksReset: _reset,
    e.ReportRefused: _report_refused,
    e.TicketPassed: _ticket_over,
    e.TicketFailed: _ticket_over,
    e.TicketErrored: _ticket_over,
    e.TicketCancelled: _ticket_over,
    e.TicketSuperseded: _ticket_over,
    e.TicketExpired: _ticket_over,
}
