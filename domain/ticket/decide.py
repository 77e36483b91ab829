"""What follows from a command: START READING HERE, with `decide` at the end.

One function a command. Each reads the ticket and returns the events that record the outcome:
none if nothing is left to do. Refusals are raised (`domain.errors`). Nothing here reads a clock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import msgspec

from domain.errors import (
    DifferentBody,
    Ended,
    Invalid,
    NotAllowedNow,
    NotCapable,
    NotDue,
    NotReady,
    StaleToken,
    TooLarge,
    UnknownTask,
    UnknownTicket,
)
from domain.event import Command, CommandNoted, Event
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import TASK, TICKET, TaskState, TicketState
from domain.ticket.rerun import tasks_to_reset
from domain.ticket.state import WORD, Task, Ticket, verdict_of_skip
from domain.ticket.words import Execution, Limit, Outcome, Scope, Told
from domain.workflow import MAX_TASK_SIZE, TaskSpec, check, lacking, needs_first

Events = tuple[Event, ...]

LIFETIME: Final = timedelta(days=7)
"""Until the deadline of a ticket that was opened without one. Every ticket ends."""

FARTHEST: Final = timedelta(days=366)
"""How far a ticket may look ahead: to its not_before, and from there to its deadline."""

MAX_UNSTARTED: Final = 10
"""Attempts that may be lost before they start, or handed back, without costing a retry."""

_TOO_OFTEN: Final = f"more than {MAX_UNSTARTED} attempts never started or were handed back"

RECORD: Final = MAX_TASK_SIZE
"""Bytes of tasks that go into one event; well below what a record may have."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def _open(ticket: Ticket, command: c.Open, now: datetime) -> Events:
    encoded = _encode(command)
    body = _digest(encoded)
    if ticket.exists:
        if ticket.body == body:
            return (CommandNoted(version=1),)
        raise DifferentBody(field="id", what="the ticket")
    if command.sealed and not command.tasks:
        raise Invalid(field="tasks", reason="a ticket has at least one task")
    check(command.tasks)
    not_before, deadline = _times(command, now)
    first, *rest = _by_size(command.tasks, len(encoded)) or [()]
    opened = e.TicketOpened(
        subject=command.subject,
        body=body,
        deadline=deadline,
        tasks=first,
        labels=command.labels,
        priority=command.priority,
        not_before=not_before,
        supersedes=command.supersedes,
        sealed=command.sealed,
    )
    added = (e.TasksAdded(tasks=tasks, body=body) for tasks in rest)
    return (opened, *added, *_begin(ticket, command.tasks, sealed=command.sealed))


def _times(command: c.Open, now: datetime) -> tuple[datetime | None, datetime]:
    """When the ticket may begin and when it must have ended, in UTC."""
    not_before, deadline = command.not_before, command.deadline
    if not_before is not None and abs(not_before - now) > FARTHEST:
        raise Invalid(field="not_before", reason=f"it is more than {FARTHEST.days} days away")
    begin = max(now, not_before or now)
    if deadline is None:
        deadline = begin + LIFETIME
    if deadline <= now:
        raise Invalid(field="deadline", reason=f"{deadline.isoformat()} has passed")
    if deadline <= begin:
        raise Invalid(field="deadline", reason="it is not after not_before")
    if deadline - begin > FARTHEST:
        raise Invalid(field="deadline", reason=f"it is more than {FARTHEST.days} days away")
    return not_before and not_before.astimezone(UTC), deadline.astimezone(UTC)


def _add_tasks(ticket: Ticket, command: c.AddTasks, now: datetime) -> Events:
    if command.by_task is not None or command.token is not None:
        task = _task(ticket, command.by_task or "", "by_task")
        if not task.holds(command.token or 0):
            raise StaleToken(token=command.token, task=command.by_task)
    encoded = _encode(command.tasks)
    body = _digest(encoded)
    there = [n for n, spec in enumerate(command.tasks) if spec.name in ticket.tasks]
    if there and all(
        spec.name in ticket.tasks and ticket.tasks[spec.name].body == body for spec in command.tasks
    ):
        return ()
    if there:
        name = command.tasks[there[0]].name
        raise DifferentBody(field=f"tasks[{there[0]}].name", what=f"task {name!r}")
    _must_be_open(ticket, "it takes no more tasks")
    check(command.tasks, ticket.tasks)
    return (
        *(
            e.TasksAdded(tasks=tasks, body=body, by_task=command.by_task)
            for tasks in _by_size(command.tasks, len(encoded))
        ),
        *_begin(ticket, command.tasks, sealed=ticket.sealed),
    )


def _begin(ticket: Ticket, specs: Sequence[TaskSpec], *, sealed: bool) -> Iterator[Event]:
    """Where new tasks go at once: held, skipped because of what has ended, or ready."""
    held = [spec.name for spec in specs if spec.held]
    yield from (e.TasksHeld(tasks=names) for names in _chunks(held))
    skipped: dict[str, str] = {}
    ready: list[str] = []
    new = {spec.name: spec for spec in specs}
    dependants: dict[str, list[str]] = {}
    for spec in specs:
        for need in spec.needs:
            dependants.setdefault(need, []).append(spec.name)
        if not spec.held and not any(need in new or _awaited(ticket, need) for need in spec.needs):
            ready.append(spec.name)
    for spec in specs:
        for need in spec.needs:
            if need not in new and ticket.is_lost(need):
                root = ticket.root(need)
                waiting = [spec.name]
                while waiting:
                    name = waiting.pop()
                    if name not in skipped:
                        skipped[name] = root
                        waiting += dependants.get(name, ())
    yield from _skipped(skipped)
    if sealed:
        yield from _ready(ready)


def _awaited(ticket: Ticket, need: str) -> bool:
    return ticket.tasks[need].state is not TaskState.PASSED


def _seal(ticket: Ticket, command: c.Seal, now: datetime) -> Events:
    if ticket.sealed:
        return ()
    _must_be_open(ticket, "it cannot be completed")
    if not ticket.tasks:
        raise Invalid(field="tasks", reason="a ticket has at least one task")
    ready = [
        name
        for name, task in ticket.tasks.items()
        if task.state is TaskState.BLOCKED and not task.waiting
    ]
    if not ticket.unfinished:
        return (e.TicketSealed(), _verdict(ticket.failed, ticket.errored, ticket.cancelled))
    return (e.TicketSealed(), *_ready(ready))


def _claim(ticket: Ticket, command: c.Claim, now: datetime) -> Events:
    task = _task(ticket, command.task)
    if not TASK.permits(task.state, e.TaskClaimed):
        last = task.attempts[-1] if task.at_work else None
        if last and (last.request, last.worker) == (command.request, command.worker):
            return (CommandNoted(version=last.token),)
        raise NotReady(task=command.task, reason=f"it is {task.state}")
    if ticket.not_before is not None and now < ticket.not_before:
        raise NotReady(task=command.task, reason=f"not before {ticket.not_before.isoformat()}")
    if command.capabilities is not None and (lacks := lacking(command.capabilities, task.requires)):
        raise NotCapable(
            worker=command.worker, task=command.task, dimension=lacks[0], lacking=lacks[1]
        )
    return (
        e.TaskClaimed(
            task=command.task,
            worker=command.worker,
            request=command.request,
            lease=task.timeouts.heartbeat,
        ),
    )


def _start(ticket: Ticket, command: c.Start, now: datetime) -> Events:
    task = _task(ticket, command.task)
    if not task.holds(command.token):
        raise StaleToken(token=command.token, task=command.task)
    if task.state is TaskState.RUNNING:
        return ()
    return (e.TaskStarted(task=command.task, token=command.token),)


def _report(ticket: Ticket, command: c.Report, now: datetime) -> Events:
    if command.execution is Execution.OK and command.outcome is None:
        raise Invalid(field="outcome", reason="an attempt that ran tells what its test said")
    task = _task(ticket, command.task)
    if not task.holds(command.token):
        return _late_report(task, command)
    end, state = _ending(task, command)
    told = {field: getattr(command, field) for field in Told.__struct_fields__}
    event = end(task=command.task, token=command.token, **told)
    if TASK.permits(task.state, end):
        events: Events = (event,)
    else:  # the start is implied; its own command was lost or is late
        events = (e.TaskStarted(task=command.task, token=command.token), event)
    return events if state is None else (*events, *_after(ticket, {command.task: state}))


def _ending(task: Task, told: Told) -> tuple[type[Event], TaskState | None]:
    """The event that ends the attempt, and the state if it ends the task."""
    match told.execution, told.outcome:
        case Execution.INFRASTRUCTURE, _ if task.retried < task.retries:
            return e.TaskRetried, None
        case ((Execution.INFRASTRUCTURE | Execution.CONFIGURATION), _):
            return e.TaskErrored, TaskState.ERRORED
        case Execution.TIMED_OUT, _:
            return e.TaskTimedOut, TaskState.TIMED_OUT
        case _, Outcome.PASSED | Outcome.INFO:
            return e.TaskPassed, TaskState.PASSED
        case _, Outcome.SKIPPED:
            return e.TaskSkipped, TaskState.SKIPPED
        case _:
            return e.TaskFailed, TaskState.FAILED


def _late_report(task: Task, command: c.Report) -> Events:
    """The attempt is over. To repeat what ended it is success; anything else comes too late."""
    attempt = task.attempt(command.token)
    if attempt is not None and (attempt.execution, attempt.outcome) == (
        command.execution,
        command.outcome,
    ):
        return ()
    unheard = attempt is not None and not attempt.refused
    raise StaleToken(
        token=command.token,
        task=command.task,
        leaves=(e.ReportRefused(task=command.task, token=command.token),) if unheard else (),
    )


def _lose_lease(ticket: Ticket, command: c.LoseLease, now: datetime) -> Events:
    task = _task(ticket, command.task)
    if not task.holds(command.token):
        return _over_already(task, command.task, command.token)
    return _lost_attempt(ticket, command.task, command.token, command.reason)


def _return_claim(ticket: Ticket, command: c.ReturnClaim, now: datetime) -> Events:
    task = _task(ticket, command.task)
    if not task.holds(command.token):
        attempt = task.attempt(command.token)
        if attempt is not None and attempt.ended == WORD[e.ClaimReturned]:
            return ()
        raise StaleToken(token=command.token, task=command.task)
    returned = e.ClaimReturned(task=command.task, token=command.token, reason=command.reason)
    if task.unstarted < MAX_UNSTARTED:
        return (returned,)
    return (returned, *_exhausted(ticket, command.task, _TOO_OFTEN))


def _revoke(ticket: Ticket, command: c.Revoke, now: datetime) -> Events:
    task = _task(ticket, command.task)
    if not task.holds(command.token):
        return _over_already(task, command.task, command.token)
    return (e.ClaimRevoked(task=command.task, token=command.token, reason=command.reason),)


def _over_already(task: Task, name: str, token: int) -> Events:
    if task.attempt(token) is None:
        raise StaleToken(token=token, task=name)
    return ()


def _lost_attempt(ticket: Ticket, name: str, token: int, reason: str) -> Events:
    """Back to ready, unless the budget is spent. What never started costs no retry."""
    task = ticket.tasks[name]
    lost = e.LeaseLost(task=name, token=token, reason=reason)
    if task.state is TaskState.RUNNING:
        if task.retried < task.retries:
            return (lost,)
        return (lost, *_exhausted(ticket, name, f"no retry is left of {task.retries}"))
    if task.unstarted < MAX_UNSTARTED:
        return (lost,)
    return (lost, *_exhausted(ticket, name, _TOO_OFTEN))


def _exhausted(ticket: Ticket, name: str, reason: str) -> Events:
    return (
        e.TaskErrored(task=name, execution=Execution.INFRASTRUCTURE, reason=reason),
        *_after(ticket, {name: TaskState.ERRORED}),
    )


def _time_out(ticket: Ticket, command: c.TimeOut, now: datetime) -> Events:
    task = _task(ticket, command.task)
    if command.limit is Limit.QUEUE:
        if task.state is not TaskState.READY:
            return ()
        ready = max(task.since, ticket.not_before or task.since)
        _must_be_due("The queue timeout", ready, task.timeouts.queue, now)
        return (
            e.TaskErrored(
                task=command.task,
                execution=Execution.INFRASTRUCTURE,
                reason=f"no worker claimed it within {task.timeouts.queue:g} s",
            ),
            *_after(ticket, {command.task: TaskState.ERRORED}),
        )
    token = command.token or 0
    if not task.holds(token):
        return _over_already(task, command.task, token)
    attempt = task.attempts[-1]
    if command.limit is Limit.START:
        if attempt.started_at is not None:
            return ()
        _must_be_due("The start timeout", attempt.claimed_at, task.timeouts.start, now)
        reason = f"it did not start within {task.timeouts.start:g} s"
        return _lost_attempt(ticket, command.task, token, reason)
    if attempt.started_at is None:
        raise NotAllowedNow(task=command.task, state=task.state, reason="it has not started")
    _must_be_due("The run timeout", attempt.started_at, task.timeouts.run, now)
    return (
        e.TaskTimedOut(
            task=command.task,
            token=token,
            execution=Execution.TIMED_OUT,
            reason=f"it ran longer than {task.timeouts.run:g} s",
        ),
        *_after(ticket, {command.task: TaskState.TIMED_OUT}),
    )


def _cancel(ticket: Ticket, command: c.Cancel, now: datetime) -> Events:
    if not command.tasks:
        return _end_all(ticket, command.reason, e.TicketCancelled(reason=command.reason))
    names = [name for name, task in _named(ticket, command.tasks).items() if not task.has_ended]
    if not names:
        return ()
    return (
        *(e.TasksCancelled(tasks=some, reason=command.reason) for some in _chunks(names)),
        *_after(ticket, dict.fromkeys(names, TaskState.CANCELLED)),
    )


def _supersede(ticket: Ticket, command: c.Supersede, now: datetime) -> Events:
    return _end_all(ticket, f"superseded by {command.by}", e.TicketSuperseded(by=command.by))


def _expire(ticket: Ticket, command: c.Expire, now: datetime) -> Events:
    if ticket.is_open and ticket.deadline is not None:
        _must_be_due("The ticket", ticket.deadline, 0, now)
    return _end_all(ticket, command.reason, e.TicketExpired(reason=command.reason))


def _end_all(ticket: Ticket, reason: str, end: Event) -> Events:
    if not ticket.is_open:
        return ()
    names = [name for name, task in ticket.tasks.items() if not task.has_ended]
    return (*(e.TasksCancelled(tasks=some, reason=reason) for some in _chunks(names)), end)


def _rerun(ticket: Ticket, command: c.Rerun, now: datetime) -> Events:
    if not TICKET.permits(ticket.state, e.TasksReset):
        raise Ended(state=ticket.state, reason="it cannot be run again")
    if command.scope is Scope.TASKS and not command.tasks:
        raise Invalid(field="tasks", reason="name the tasks to run again")
    if command.scope is not Scope.TASKS and command.tasks:
        raise Invalid(field="tasks", reason=f"scope {command.scope} names none")
    named = _named(ticket, command.tasks)
    names, skipped = tasks_to_reset(ticket, command.scope, tuple(named))
    if len(names) == len(skipped):
        return ()
    deadline = None if ticket.is_open else now + ticket.lifetime
    again = frozenset(names)
    held = [
        name
        for name in names
        if ticket.tasks[name].gated and name not in named and name not in skipped
    ]
    ready = [
        name
        for name in names
        if name not in held
        and not any(n in again or _awaited(ticket, n) for n in ticket.tasks[name].needs)
    ]
    return (
        *(
            e.TasksReset(tasks=some, deadline=deadline, reason=command.reason)
            for some in _chunks(names)
        ),
        *_skipped(skipped),
        *(e.TasksHeld(tasks=some) for some in _chunks(held)),
        *(_ready(ready) if ticket.sealed else ()),
    )


def _hold(ticket: Ticket, command: c.Hold, now: datetime) -> Events:
    _must_be_open(ticket, "there is nothing to hold")
    for name, task in _named(ticket, command.tasks).items():
        if not (task.state is TaskState.HELD or TASK.permits(task.state, e.TasksHeld)):
            raise NotAllowedNow(task=name, state=task.state, reason="only waiting tasks are held")
    names = [
        name
        for name, task in _named(ticket, command.tasks or tuple(ticket.tasks)).items()
        if TASK.permits(task.state, e.TasksHeld)
    ]
    return tuple(e.TasksHeld(tasks=some, reason=command.reason) for some in _chunks(names))


def _unhold(ticket: Ticket, command: c.Unhold, now: datetime) -> Events:
    _must_be_open(ticket, "there is no gate to open")
    tasks = {
        name: task
        for name, task in _named(ticket, command.tasks or tuple(ticket.tasks)).items()
        if TASK.permits(task.state, e.TasksUnheld)
    }
    ready = [name for name, task in tasks.items() if not task.waiting]
    return (
        *(e.TasksUnheld(tasks=some, reason=command.reason) for some in _chunks([*tasks])),
        *(_ready(ready) if ticket.sealed else ()),
    )


def _change_priority(ticket: Ticket, command: c.ChangePriority, now: datetime) -> Events:
    if ticket.priority == command.priority:
        return ()
    _must_be_open(ticket, "it is not in the queue")
    return (e.PriorityChanged(priority=command.priority, reason=command.reason),)


def _after(ticket: Ticket, ended: Mapping[str, TaskState]) -> Iterator[Event]:
    """What follows inside the ticket when these tasks end.

    Dependants are ready or, of a task that has not passed, skipped with theirs; with the last
    task the ticket ends.
    """
    gone = set(ended)
    failed, errored, cancelled = ticket.failed, ticket.errored, ticket.cancelled
    verdicts = [ticket.tasks[name].verdict(state) for name, state in ended.items()]
    for name, state in ended.items():
        task = ticket.tasks[name]
        if state is TaskState.PASSED:
            yield from _ready(
                [
                    dependant
                    for dependant in task.dependants
                    if ticket.tasks[dependant].state is TaskState.BLOCKED
                    and ticket.tasks[dependant].waiting == 1
                ]
            )
            continue
        skipped = _without(ticket, name, gone)
        yield from (e.TasksSkipped(tasks=some, because=name) for some in _chunks(skipped))
        verdicts += (verdict_of_skip(ticket.tasks[skip], task, state) for skip in skipped)
    if ticket.sealed and ticket.unfinished == len(gone):
        failed += verdicts.count(TicketState.FAILED)
        errored += verdicts.count(TicketState.ERRORED)
        cancelled += verdicts.count(TicketState.CANCELLED)
        yield _verdict(failed, errored, cancelled)


def _without(ticket: Ticket, root: str, gone: set[str]) -> list[str]:
    """The waiting tasks that need *root*, directly or not; they are *gone* with it."""
    found: list[str] = []
    waiting = list(ticket.tasks[root].dependants)
    for name in waiting:
        task = ticket.tasks[name]
        if name not in gone and TASK.permits(task.state, e.TasksSkipped):
            gone.add(name)
            found.append(name)
            waiting += task.dependants
    return found


def _verdict(failed: int, errored: int, cancelled: int) -> Event:
    if failed:
        return e.TicketFailed()
    if errored:
        return e.TicketErrored()
    return (
        e.TicketCancelled(reason="a required task was cancelled") if cancelled else e.TicketPassed()
    )


def _skipped(roots: Mapping[str, str]) -> Iterator[Event]:
    by_root: dict[str, list[str]] = {}
    for name, root in roots.items():
        by_root.setdefault(root, []).append(name)
    for root, names in by_root.items():
        yield from (e.TasksSkipped(tasks=some, because=root) for some in _chunks(names))


def _ready(names: Sequence[str]) -> Iterator[Event]:
    return (e.TasksReady(tasks=some) for some in _chunks(names))


def _chunks(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(names[n : n + e.CHUNK]) for n in range(0, len(names), e.CHUNK))


def _by_size(tasks: tuple[TaskSpec, ...], size: int) -> list[tuple[TaskSpec, ...]]:
    """The tasks in parts that fit into a record each.

    *size* is that of all, encoded, and of what else the first record must take.
    """
    if size <= RECORD:
        return [tasks] if tasks else []
    sizes = {task.name: len(_encode(task)) for task in tasks}
    for n, one in enumerate(sizes.values()):
        if one > MAX_TASK_SIZE:
            raise TooLarge(field=f"tasks[{n}]", size=one, limit=MAX_TASK_SIZE)
    parts: list[list[TaskSpec]] = [[]]
    filled = size - sum(sizes.values())
    for task in needs_first(tasks):
        if filled + sizes[task.name] > RECORD:
            parts.append([])
            filled = 0
        parts[-1].append(task)
        filled += sizes[task.name] + 1
    return [tuple(part) for part in parts]


def _digest(encoded: bytes) -> bytes:
    return blake2b(encoded, digest_size=16).digest()


def _task(ticket: Ticket, name: str, field: str = "task") -> Task:
    task = ticket.tasks.get(name)
    if task is None:
        raise UnknownTask(field=field, task=name)
    return task


def _named(ticket: Ticket, names: Iterable[str]) -> dict[str, Task]:
    return {name: _task(ticket, name, f"tasks[{n}]") for n, name in enumerate(names)}


def _must_be_open(ticket: Ticket, reason: str) -> None:
    if not ticket.is_open:
        raise Ended(state=ticket.state, reason=reason)


def _must_be_due(what: str, since: datetime, seconds: float, now: datetime) -> None:
    due = since + timedelta(seconds=seconds)
    if now < due:
        raise NotDue(what=what, due=due.isoformat(), now=now.isoformat())


_DECIDE: Final[dict[type[Command], Callable[[Ticket, Any, datetime], Events]]] = {
    c.AddTasks: _add_tasks,
    c.Seal: _seal,
    c.Claim: _claim,
    c.Start: _start,
    c.LoseLease: _lose_lease,
    c.Report: _report,
    c.ReturnClaim: _return_claim,
    c.Revoke: _revoke,
    c.Cancel: _cancel,
    c.Rerun: _rerun,
    c.Hold: _hold,
    c.Unhold: _unhold,
    c.ChangePriority: _change_priority,
    c.Supersede: _supersede,
    c.Expire: _expire,
    c.TimeOut: _time_out,
}


def decide(ticket: Ticket, ticket_id: str, command: Command, now: datetime) -> Events:
    """The events that record the outcome of *command*; none if nothing is left to do.

    Raises:
        Refused: the command is wrong, or the ticket's state does not permit it.
    """
    if isinstance(command, c.Open):
        return _open(ticket, command, now)
    if not ticket.exists:
        raise UnknownTicket(ticket=ticket_id)
    return _DECIDE[type(command)](ticket, command, now)
