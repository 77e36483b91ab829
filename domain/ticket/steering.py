"""What people and rules do to a ticket on its way: hold, hurry, run again, end."""

from datetime import datetime

from domain.errors import (
    Ended,
    Invalid,
    NotAllowedNow,
)
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import TASK, TICKET, TaskState
from domain.ticket.follows import (
    Events,
    after,
    awaited,
    chunks,
    end_all,
    must_be_due,
    must_be_open,
    tasks_named,
    tasks_ready,
    tasks_skipped,
)
from domain.ticket.rerun import tasks_to_reset
from domain.ticket.state import Ticket
from domain.ticket.words import Scope


def cancel(ticket: Ticket, command: c.Cancel, now: datetime) -> Events:
    """End the tasks named, or the ticket."""
    if not command.tasks:
        return end_all(ticket, command.reason, e.TicketCancelled(reason=command.reason))
    names = [
        name for name, task in tasks_named(ticket, command.tasks).items() if not task.has_ended
    ]
    if not names:
        return ()
    return (
        *(e.TasksCancelled(tasks=some, reason=command.reason) for some in chunks(names)),
        *after(ticket, dict.fromkeys(names, TaskState.CANCELLED)),
    )


def supersede(ticket: Ticket, command: c.Supersede, now: datetime) -> Events:
    """A newer ticket takes its place."""
    return end_all(ticket, f"superseded by {command.by}", e.TicketSuperseded(by=command.by))


def expire(ticket: Ticket, command: c.Expire, now: datetime) -> Events:
    """The deadline has passed."""
    if ticket.is_open and ticket.deadline is not None:
        must_be_due("The ticket", ticket.deadline, 0, now)
    return end_all(ticket, command.reason, e.TicketExpired(reason=command.reason))


def rerun(ticket: Ticket, command: c.Rerun, now: datetime) -> Events:
    """Tasks begin anew, and with them a ticket that had ended."""
    if not TICKET.permits(ticket.state, e.TasksReset):
        raise Ended(state=ticket.state, reason="it cannot be run again")
    if command.scope is Scope.TASKS and not command.tasks:
        raise Invalid(field="tasks", reason="name the tasks to run again")
    if command.scope is not Scope.TASKS and command.tasks:
        raise Invalid(field="tasks", reason=f"scope {command.scope} names none")
    named = tasks_named(ticket, command.tasks)
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
        and not any(n in again or awaited(ticket, n) for n in ticket.tasks[name].needs)
    ]
    return (
        *(
            e.TasksReset(tasks=some, deadline=deadline, reason=command.reason)
            for some in chunks(names)
        ),
        *tasks_skipped(skipped),
        *(e.TasksHeld(tasks=some) for some in chunks(held)),
        *(tasks_ready(ready) if ticket.may_begin else ()),
    )


def hold(ticket: Ticket, command: c.Hold, now: datetime) -> Events:
    """Close the gate before what waits."""
    must_be_open(ticket, "there is nothing to hold")
    for name, task in tasks_named(ticket, command.tasks).items():
        if not (task.state is TaskState.HELD or TASK.permits(task.state, e.TasksHeld)):
            raise NotAllowedNow(task=name, state=task.state, reason="only waiting tasks are held")
    names = [
        name
        for name, task in tasks_named(ticket, command.tasks or tuple(ticket.tasks)).items()
        if TASK.permits(task.state, e.TasksHeld)
    ]
    return tuple(e.TasksHeld(tasks=some, reason=command.reason) for some in chunks(names))


def unhold(ticket: Ticket, command: c.Unhold, now: datetime) -> Events:
    """Open the gate: blocked again, or ready."""
    must_be_open(ticket, "there is no gate to open")
    tasks = {
        name: task
        for name, task in tasks_named(ticket, command.tasks or tuple(ticket.tasks)).items()
        if TASK.permits(task.state, e.TasksUnheld)
    }
    ready = [name for name, task in tasks.items() if not task.waiting]
    return (
        *(e.TasksUnheld(tasks=some, reason=command.reason) for some in chunks([*tasks])),
        *(tasks_ready(ready) if ticket.may_begin else ()),
    )


def change_priority(ticket: Ticket, command: c.ChangePriority, now: datetime) -> Events:
    """Move in the queue."""
    if ticket.priority == command.priority:
        return ()
    must_be_open(ticket, "it is not in the queue")
    return (e.PriorityChanged(priority=command.priority, reason=command.reason),)
