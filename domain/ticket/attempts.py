"""Attempts begin and end: claim, start, report, and what goes wrong on the way."""

from datetime import datetime
from typing import Final

from domain.errors import (
    Invalid,
    NotAllowedNow,
    NotCapable,
    NotReady,
    StaleToken,
)
from domain.event import CommandNoted, Event
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import TASK, TaskState
from domain.ticket.follows import Events, after, must_be_due, task_of
from domain.ticket.state import WORD, Task, Ticket
from domain.ticket.words import Execution, Limit, Outcome, Told
from domain.workflow import lacking

MAX_UNSTARTED: Final = 10
"""Attempts that may be lost before they start, or handed back, without costing a retry."""


_TOO_OFTEN: Final = f"more than {MAX_UNSTARTED} attempts never started or were handed back"


def claim(ticket: Ticket, command: c.Claim, now: datetime) -> Events:
    """A ready task gets an attempt; the same request by the same worker gets the same one."""
    task = task_of(ticket, command.task)
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


def start(ticket: Ticket, command: c.Start, now: datetime) -> Events:
    """The task's own code runs; with its first task the ticket does."""
    task = task_of(ticket, command.task)
    if not task.holds(command.token):
        raise StaleToken(token=command.token, task=command.task)
    if task.state is TaskState.RUNNING:
        return ()
    return (e.TaskStarted(task=command.task, token=command.token),)


def report(ticket: Ticket, command: c.Report, now: datetime) -> Events:
    """The attempt is over: how it ran, what the test said, and what follows."""
    if command.execution is Execution.OK and command.outcome is None:
        raise Invalid(field="outcome", reason="an attempt that ran tells what its test said")
    task = task_of(ticket, command.task)
    if not task.holds(command.token):
        return _late_report(task, command)
    end, state = _ending(task, command)
    told = {field: getattr(command, field) for field in Told.__struct_fields__}
    event = end(task=command.task, token=command.token, **told)
    if TASK.permits(task.state, end):
        events: Events = (event,)
    else:  # the start is implied; its own command was lost or is late
        events = (e.TaskStarted(task=command.task, token=command.token), event)
    return events if state is None else (*events, *after(ticket, {command.task: state}))


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


def lose_lease(ticket: Ticket, command: c.LoseLease, now: datetime) -> Events:
    """The lease ran out beside the log; nothing if the attempt is over already."""
    task = task_of(ticket, command.task)
    if not task.holds(command.token):
        return _over_already(task, command.task, command.token)
    return _lost_attempt(ticket, command.task, command.token, command.reason)


def return_claim(ticket: Ticket, command: c.ReturnClaim, now: datetime) -> Events:
    """The worker hands the task back."""
    task = task_of(ticket, command.task)
    if not task.holds(command.token):
        attempt = task.attempt(command.token)
        if attempt is not None and attempt.ended == WORD[e.ClaimReturned]:
            return ()
        raise StaleToken(token=command.token, task=command.task)
    returned = e.ClaimReturned(task=command.task, token=command.token, reason=command.reason)
    if task.unstarted < MAX_UNSTARTED:
        return (returned,)
    return (returned, *_exhausted(ticket, command.task, _TOO_OFTEN))


def revoke(ticket: Ticket, command: c.Revoke, now: datetime) -> Events:
    """Somebody takes the task away; that costs no budget."""
    task = task_of(ticket, command.task)
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
        *after(ticket, {name: TaskState.ERRORED}),
    )


def time_out(ticket: Ticket, command: c.TimeOut, now: datetime) -> Events:
    """A stage has lasted too long: in the queue, until the start, or at work."""
    task = task_of(ticket, command.task)
    if command.limit is Limit.QUEUE:
        if task.state is not TaskState.READY:
            return ()
        ready = max(task.since, ticket.not_before or task.since)
        must_be_due("The queue timeout", ready, task.timeouts.queue, now)
        return (
            e.TaskErrored(
                task=command.task,
                execution=Execution.INFRASTRUCTURE,
                reason=f"no worker claimed it within {task.timeouts.queue:g} s",
            ),
            *after(ticket, {command.task: TaskState.ERRORED}),
        )
    token = command.token or 0
    if not task.holds(token):
        return _over_already(task, command.task, token)
    attempt = task.attempts[-1]
    if command.limit is Limit.START:
        if attempt.started_at is not None:
            return ()
        must_be_due("The start timeout", attempt.claimed_at, task.timeouts.start, now)
        reason = f"it did not start within {task.timeouts.start:g} s"
        return _lost_attempt(ticket, command.task, token, reason)
    if attempt.started_at is None:
        raise NotAllowedNow(task=command.task, state=task.state, reason="it has not started")
    must_be_due("The run timeout", attempt.started_at, task.timeouts.run, now)
    return (
        e.TaskTimedOut(
            task=command.task,
            token=token,
            execution=Execution.TIMED_OUT,
            reason=f"it ran longer than {task.timeouts.run:g} s",
        ),
        *after(ticket, {command.task: TaskState.TIMED_OUT}),
    )
