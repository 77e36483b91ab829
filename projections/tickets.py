"""The views of tickets: the fold from events to the rows of tickets, tasks, attempts and results.

    views = Views()              what is known of the tickets that are under way
    views.fold(recorded)         one event more
    views.changes()              the rows that have changed since, to be written

The fold needs of a ticket what its rows say, and nothing else: so what is not known here is loaded
from the rows (`unknown` names those), and a ticket that has ended is forgotten. Of a large ticket
no more is loaded than the tasks that the events name.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from domain.envelope import Recorded
from domain.event import CommandNoted, Event
from domain.stream import VersionGap
from domain.ticket import events as e
from domain.ticket.automata import AT_WORK, OPEN, TASK, TICKET, WAITING, TaskState, TicketState
from domain.ticket.state import WORD
from domain.ticket.words import Told
from domain.workflow import TaskSpec
from projections.due import due
from projections.queue import class_of, rank
from projections.rows import Attempt, Result, Task, Ticket

KIND: Final = "ticket/"

COUNTED: Final = {
    **dict.fromkeys(WAITING, "waiting"),
    **dict.fromkeys(AT_WORK, "working"),
    TaskState.PASSED: "passed",
    TaskState.FAILED: "failed",
    TaskState.TIMED_OUT: "failed",
    TaskState.ERRORED: "errored",
    TaskState.SKIPPED: "dropped",
    TaskState.CANCELLED: "dropped",
}
"""By which count of its ticket a task is counted."""

_open: Final = frozenset(OPEN)


class View(Struct):
    """The rows of one ticket, and those of its tasks that are needed; all of them if it is `whole`.

    Of the attempts it has those that are under way, by token.
    """

    ticket: Ticket
    tasks: dict[str, Task]
    attempts: dict[int, Attempt]
    whole: bool


class Unknown(Struct):
    """What must be loaded: tickets, some tasks, and all tasks that are in the queue of a ticket."""

    tickets: set[str]
    tasks: set[tuple[str, str]]
    queues: set[str]

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.tickets or self.tasks or self.queues)


class Loaded(Struct):
    """Rows as they were written; the attempts are those under way at the tasks."""

    tickets: Sequence[Ticket]
    tasks: Sequence[Task]
    attempts: Sequence[Attempt]


class Changes(Struct):
    """Rows to be written. What is new is not among what has changed.

    `refused` are the (ticket, token) of attempts whose reports came too late, `problems` the
    tickets that could not be folded on, and why.
    """

    new_tickets: Sequence[Ticket]
    tickets: Sequence[Ticket]
    new_tasks: Sequence[Task]
    tasks: Sequence[Task]
    new_attempts: Sequence[Attempt]
    attempts: Sequence[Attempt]
    results: Sequence[Result]
    refused: Sequence[tuple[str, int]]
    problems: Sequence[tuple[str, str]]


class Views:
    """The views of the tickets of one partition, as far as they are needed."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._views: dict[str, View] = {}
        self._quarantined: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """Nothing has changed yet. Rows are collected by identity: a row is written once."""
        self._new_tickets: dict[int, Ticket] = {}
        self._tickets: dict[int, Ticket] = {}
        self._new_tasks: dict[int, Task] = {}
        self._tasks: dict[int, Task] = {}
        self._new_attempts: dict[int, Attempt] = {}
        self._attempts: dict[int, Attempt] = {}
        self._results: list[Result] = []
        self._refused: list[tuple[str, int]] = []
        self._problems: list[tuple[str, str]] = []

    def unknown(self, events: Iterable[Recorded]) -> Unknown:
        """What must be loaded before these events can be folded."""
        opened: set[str] = set()
        added: set[tuple[str, str]] = set()
        missing = Unknown(set(), set(), set())
        for recorded in events:
            stream = recorded.originator_id
            if not stream.startswith(KIND):
                continue
            id_, event = stream[len(KIND) :], recorded.event
            if type(event) is e.TicketOpened:
                opened.add(id_)
            if id_ in opened or id_ in self._quarantined:
                continue
            view = self._views.get(id_)
            if view is None:
                missing.tickets.add(id_)
            elif view.whole:
                continue
            known = view.tasks if view is not None else {}
            match event:
                case e.TasksAdded(tasks=specs):
                    added.update((id_, spec.name) for spec in specs)
                case e.PriorityChanged():
                    missing.queues.add(id_)
                case _:
                    missing.tasks.update((id_, n) for n in _named(event) if n not in known)
        missing.tasks -= added
        return missing

    def known(self, id_: str) -> View:
        """The rows of a ticket that is known."""
        return self._views[id_]

    def keep(self, view: View) -> None:
        """Know this one, which may have been forgotten."""
        self._views[view.ticket.ticket] = view

    def load(self, loaded: Loaded) -> None:
        """Know these, as their rows say. What was known of a ticket's tasks already, stays."""
        for ticket in loaded.tickets:
            if ticket.problem is None:
                self._views[ticket.ticket] = View(ticket, {}, {}, whole=False)
            else:
                self._quarantined.add(ticket.ticket)
        for task in loaded.tasks:
            if view := self._views.get(task.ticket):
                view.tasks.setdefault(task.task, task)
        for attempt in loaded.attempts:
            if view := self._views.get(attempt.ticket):
                view.attempts.setdefault(attempt.token, attempt)

    def fold(self, recorded: Recorded) -> None:
        """Change by one event. Streams that are no tickets are no affair of these views.

        Raises VersionGap, and whatever an event raises that does not fit: `forget` its ticket then.
        """
        stream, event = recorded.originator_id, recorded.event
        if not stream.startswith(KIND):
            return
        id_ = stream[len(KIND) :]
        if id_ in self._quarantined:
            return
        kind = type(event)
        if kind is e.TicketOpened:
            view = self._views[id_] = self._opened(id_, event, recorded)  # type: ignore[arg-type]
        else:
            view = self._views[id_]
        ticket = view.ticket
        if recorded.originator_version != ticket.version + 1:
            raise VersionGap(stream, ticket.version, recorded.originator_version)
        if kind in TICKET.events and kind is not e.TicketOpened:
            ticket.state = TICKET.successor(ticket.state, kind)
        if kind is not CommandNoted:
            FOLD[kind](self, view, event, recorded)
        ticket.version = recorded.originator_version
        ticket.sequence = recorded.sequence
        ticket.changed_at = recorded.time
        if id(ticket) not in self._new_tickets:
            self._tickets[id(ticket)] = ticket

    def quarantine(self, id_: str, problem: str) -> None:
        """Fold the ticket no more, leave its rows as they are, and say why."""
        self._quarantined.add(id_)
        self._problems.append((id_, problem))
        self._views.pop(id_, None)

    def forget(self, id_: str) -> None:
        """Know nothing of the ticket, as if no event of it had come since the last changes."""
        self._views.pop(id_, None)
        for collected in (
            self._new_tickets,
            self._tickets,
            self._new_tasks,
            self._tasks,
            self._new_attempts,
            self._attempts,
        ):
            for key in [key for key, row in collected.items() if row.ticket == id_]:
                del collected[key]
        self._results = [result for result in self._results if result.ticket != id_]
        self._refused = [refused for refused in self._refused if refused[0] != id_]

    def changes(self) -> Changes:
        """What has changed since the last call. Tickets that have ended are forgotten."""
        changes = Changes(
            new_tickets=list(self._new_tickets.values()),
            tickets=list(self._tickets.values()),
            new_tasks=list(self._new_tasks.values()),
            tasks=list(self._tasks.values()),
            new_attempts=list(self._new_attempts.values()),
            attempts=list(self._attempts.values()),
            results=self._results,
            refused=self._refused,
            problems=self._problems,
        )
        for ticket in (*changes.new_tickets, *changes.tickets):
            if ticket.state not in _open:
                self._views.pop(ticket.ticket, None)
        self._begin()
        return changes

    # ------------------------------------------------------------------------------ the ticket

    def _opened(self, id_: str, event: e.TicketOpened, recorded: Recorded) -> View:
        subject, newer = event.subject, event.supersedes
        ticket = Ticket(
            ticket=id_,
            partition=self._partition,
            kind=subject.kind,
            project=subject.project,
            name=subject.name,
            revision=subject.revision,
            url=subject.url,
            labels=event.labels,
            supersedes=None if newer is None else newer.key,
            supersedes_order=None if newer is None else newer.order,
            not_before=event.not_before,
            opened_at=recorded.time,
            opened_by=recorded.actor,
            state=TICKET.successor(TicketState.ABSENT, e.TicketOpened),
            priority=event.priority,
            sealed=event.sealed,
            deadline=event.deadline,
            waits_for=list(event.waits_for),
        )
        self._new_tickets[id(ticket)] = ticket
        return View(ticket, {}, {}, whole=True)

    def _added(self, view: View, event: Any, recorded: Recorded) -> None:
        kind, ticket = type(event), view.ticket
        for n, spec in enumerate(event.tasks, start=ticket.tasks):
            task = self._task(ticket, spec, n, kind, recorded.time)
            view.tasks[spec.name] = task
            self._new_tasks[id(task)] = task
        ticket.tasks += len(event.tasks)
        ticket.waiting += len(event.tasks)

    @staticmethod
    def _task(ticket: Ticket, spec: TaskSpec, n: int, kind: type[Event], at: datetime) -> Task:
        return Task(
            ticket=ticket.ticket,
            task=spec.name,
            n=n,
            project=ticket.project,
            class_=class_of(spec.requires),
            required=spec.required,
            spec=spec,
            state=TASK.successor(TaskState.ABSENT, kind),
            since=at,
            created=WORD[kind],
        )

    def _sealed(self, view: View, event: e.TicketSealed, recorded: Recorded) -> None:
        view.ticket.sealed = True

    def _priority(self, view: View, event: e.PriorityChanged, recorded: Recorded) -> None:
        view.ticket.priority = event.priority
        for task in view.tasks.values():
            if task.state is TaskState.READY:
                self._queue(view.ticket, task)
                self._changed(task)

    def _awaited(self, view: View, event: e.AwaitedPassed, recorded: Recorded) -> None:
        view.ticket.waits_for.remove(event.ticket)

    def _ended(self, view: View, event: Any, recorded: Recorded) -> None:
        ticket = view.ticket
        ticket.ended_at = recorded.time
        ticket.reason = getattr(event, "reason", "")
        ticket.superseded_by = getattr(event, "by", None)

    # ------------------------------------------------------------------------------- its tasks

    def _changed(self, task: Task) -> None:
        if id(task) not in self._new_tasks:
            self._tasks[id(task)] = task

    def _move(self, view: View, task: Task, kind: type[Event], at: datetime) -> None:
        """Put the task where the event leads, into the queue or out of it, and count it."""
        ticket, state = view.ticket, TASK.successor(task.state, kind)
        before, after = COUNTED[task.state], COUNTED[state]
        if before != after:
            setattr(ticket, before, getattr(ticket, before) - 1)
            setattr(ticket, after, getattr(ticket, after) + 1)
        task.state = state
        task.since = at
        task.rank = None
        task.due = due(state, at, task.spec, ticket.not_before)
        if state is TaskState.READY:
            task.ready_at = task.ready_at or at
            self._queue(ticket, task)
        self._changed(task)

    @staticmethod
    def _queue(ticket: Ticket, task: Task) -> None:
        assert task.ready_at is not None
        task.rank = rank(task.ready_at, ticket.priority, ticket.not_before)

    def _many(self, view: View, event: Any, recorded: Recorded) -> None:
        kind = type(event)
        for name in event.tasks:
            task = view.tasks[name]
            self._move(view, task, kind, recorded.time)
            task.reason = getattr(event, "reason", "")

    def _skipped(self, view: View, event: e.TasksSkipped, recorded: Recorded) -> None:
        for name in event.tasks:
            task = view.tasks[name]
            self._move(view, task, e.TasksSkipped, recorded.time)
            task.because = event.because

    def _cancelled(self, view: View, event: e.TasksCancelled, recorded: Recorded) -> None:
        for name in event.tasks:
            task = view.tasks[name]
            if task.state in AT_WORK:
                self._end_attempt(view, task, event, recorded)
            self._move(view, task, e.TasksCancelled, recorded.time)
            task.reason = event.reason

    def _reset(self, view: View, event: e.TasksReset, recorded: Recorded) -> None:
        ticket = view.ticket
        if event.deadline is not None:
            ticket.deadline = event.deadline
            ticket.ended_at = None
            ticket.reason = ""
        for name in event.tasks:
            task = view.tasks[name]
            self._move(view, task, e.TasksReset, recorded.time)
            task.created = WORD[e.TasksReset]
            task.ready_at = task.execution = task.outcome = task.because = None
            task.reason = ""

    # ----------------------------------------------------------------------------- its attempts

    def _claimed(self, view: View, event: e.TaskClaimed, recorded: Recorded) -> None:
        task, token = view.tasks[event.task], recorded.originator_version
        self._move(view, task, e.TaskClaimed, recorded.time)
        task.attempts += 1
        task.token = token
        task.worker = event.worker
        attempt = view.attempts[token] = Attempt(
            ticket=view.ticket.ticket,
            token=token,
            task=event.task,
            number=task.attempts,
            worker=event.worker,
            request=event.request,
            lease=event.lease,
            created=task.created,
            claimed_at=recorded.time,
        )
        self._new_attempts[id(attempt)] = attempt

    def _started(self, view: View, event: e.TaskStarted, recorded: Recorded) -> None:
        task = view.tasks[event.task]
        self._move(view, task, e.TaskStarted, recorded.time)
        view.ticket.started_at = view.ticket.started_at or recorded.time
        attempt = view.attempts[event.token]
        attempt.started_at = recorded.time
        if id(attempt) not in self._new_attempts:
            self._attempts[id(attempt)] = attempt

    def _attempt_over(self, view: View, event: Any, recorded: Recorded) -> None:
        """The attempt is over, and the task waits for the next."""
        task, kind = view.tasks[event.task], type(event)
        self._end_attempt(view, task, event, recorded)
        self._move(view, task, kind, recorded.time)
        task.created = WORD[kind]
        task.reason = event.reason

    def _task_over(self, view: View, event: Any, recorded: Recorded) -> None:
        """The task has ended, with an attempt if one was under way."""
        task = view.tasks[event.task]
        if task.state in AT_WORK:
            self._end_attempt(view, task, event, recorded)
        self._move(view, task, type(event), recorded.time)
        task.execution = event.execution
        task.outcome = event.outcome
        task.reason = event.reason

    def _end_attempt(self, view: View, task: Task, event: Any, recorded: Recorded) -> None:
        assert task.token is not None
        attempt = view.attempts.pop(task.token)
        attempt.ended_at = recorded.time
        attempt.ended = WORD[type(event)]
        attempt.reason = event.reason
        if isinstance(event, Told):
            attempt.execution = event.execution
            attempt.outcome = event.outcome
            attempt.log = event.log
            attempt.artifacts = event.artifacts
            self._results += (
                Result(
                    ticket=task.ticket,
                    token=task.token,
                    n=n,
                    task=task.task,
                    project=task.project,
                    testcase=one.testcase,
                    outcome=one.outcome,
                    summary=one.summary,
                    duration=one.duration,
                    log=one.log,
                    at=recorded.time,
                )
                for n, one in enumerate(event.results)
            )
        if id(attempt) not in self._new_attempts:
            self._attempts[id(attempt)] = attempt

    def _refused_report(self, view: View, event: e.ReportRefused, recorded: Recorded) -> None:
        self._refused.append((view.ticket.ticket, event.token))


def _named(event: Event) -> Iterable[str]:
    """The tasks that change by an event."""
    if isinstance(event, e.ReportRefused):
        return ()
    return getattr(event, "tasks", None) or ((event.task,) if hasattr(event, "task") else ())


FOLD: Final[dict[type[Event], Callable[[Views, View, Any, Recorded], None]]] = {
    e.TicketOpened: Views._added,
    e.TasksAdded: Views._added,
    e.TicketSealed: Views._sealed,
    e.PriorityChanged: Views._priority,
    e.AwaitedPassed: Views._awaited,
    e.TasksReady: Views._many,
    e.TasksHeld: Views._many,
    e.TasksUnheld: Views._many,
    e.TaskClaimed: Views._claimed,
    e.TaskStarted: Views._started,
    e.LeaseLost: Views._attempt_over,
    e.ClaimReturned: Views._attempt_over,
    e.ClaimRevoked: Views._attempt_over,
    e.TaskRetried: Views._attempt_over,
    e.TaskPassed: Views._task_over,
    e.TaskFailed: Views._task_over,
    e.TaskTimedOut: Views._task_over,
    e.TaskSkipped: Views._task_over,
    e.TaskErrored: Views._task_over,
    e.TasksSkipped: Views._skipped,
    e.TasksCancelled: Views._cancelled,
    e.TasksReset: Views._reset,
    e.ReportRefused: Views._refused_report,
    e.TicketPassed: Views._ended,
    e.TicketFailed: Views._ended,
    e.TicketErrored: Views._ended,
    e.TicketCancelled: Views._ended,
    e.TicketSuperseded: Views._ended,
    e.TicketExpired: Views._ended,
}
