"""Which tasks begin anew when a ticket, what failed in it, or some of its tasks run again."""

from collections.abc import Sequence

from domain.errors import NotAllowedNow
from domain.ticket.automata import TASK, TaskState
from domain.ticket.events import TasksReset
from domain.ticket.state import Ticket
from domain.ticket.words import Scope

_BAD = (TaskState.FAILED, TaskState.ERRORED, TaskState.TIMED_OUT, TaskState.CANCELLED)


def tasks_to_reset(
    ticket: Ticket, scope: Scope, named: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """The tasks in the *scope* and whatever needs them, in the order of the ticket.

    A task of which another need has ended badly and does not run again would wait for ever: it is
    skipped anew, because of the task that the second result gives for it. Raises NotAllowedNow if
    that task was named, or if one that needs a task to be reset is at work.
    """
    match scope:
        case Scope.TICKET:
            begun = [name for name, task in ticket.tasks.items() if task.has_ended]
        case Scope.FAILED:
            begun = [name for name, task in ticket.tasks.items() if task.state in _BAD]
        case _:
            begun = [name for name in named if ticket.tasks[name].has_ended]
    again = _with_dependants(ticket, begun)
    stranded = _stranded(ticket, again)
    for name in named:
        if name in stranded:
            raise NotAllowedNow(
                task=name,
                state=ticket.tasks[name].state,
                reason="a task that it needs has not passed and is not run again",
            )
    return [name for name in ticket.tasks if name in again], stranded


def _with_dependants(ticket: Ticket, names: Sequence[str]) -> set[str]:
    again = set(names)
    waiting = list(names)
    for name in waiting:
        for dependant in ticket.tasks[name].dependants:
            task = ticket.tasks[dependant]
            if task.at_work:
                raise NotAllowedNow(
                    task=dependant, state=task.state, reason=f"it needs {name!r}, to be run again"
                )
            if dependant not in again and TASK.permits(task.state, TasksReset):
                again.add(dependant)
                waiting.append(dependant)
    return again


def _stranded(ticket: Ticket, again: set[str]) -> dict[str, str]:
    """What of *again* could never become ready, each with the task at the root of it."""
    roots: dict[str, str] = {}
    waiting = [name for name in ticket.tasks if name in again]
    for name in waiting:
        if name in roots:
            continue
        for need in ticket.tasks[name].needs:
            if need in roots or (need not in again and ticket.is_lost(need)):
                roots[name] = roots[need] if need in roots else ticket.root(need)
                waiting += [each for each in ticket.tasks[name].dependants if each in again]
                break
    return roots
