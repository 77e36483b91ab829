"""What follows inside a ticket, and what its decisions ask of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from domain.errors import (
    Ended,
    NotDue,
    UnknownTask,
)
from domain.event import Event
from domain.ticket import events as e
from domain.ticket.automata import TASK, TaskState, TicketState
from domain.ticket.state import Task, Ticket, verdict_of_skip

Events = tuple[Event, ...]


def after(ticket: Ticket, ended: Mapping[str, TaskState]) -> Iterator[Event]:
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
            yield from tasks_ready(
                [
                    dependant
                    for dependant in task.dependants
                    if ticket.tasks[dependant].state is TaskState.BLOCKED
                    and ticket.tasks[dependant].waiting == 1
                ]
            )
            continue
        skipped = _without(ticket, name, gone)
        yield from (e.TasksSkipped(tasks=some, because=name) for some in chunks(skipped))
        verdicts += (verdict_of_skip(ticket.tasks[skip], task, state) for skip in skipped)
    if ticket.sealed and ticket.unfinished == len(gone):
        failed += verdicts.count(TicketState.FAILED)
        errored += verdicts.count(TicketState.ERRORED)
        cancelled += verdicts.count(TicketState.CANCELLED)
        yield verdict(failed, errored, cancelled)


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


def verdict(failed: int, errored: int, cancelled: int) -> Event:
    """How a ticket ends whose tasks have all ended."""
    if failed:
        return e.TicketFailed()
    if errored:
        return e.TicketErrored()
    return (
        e.TicketCancelled(reason="a required task was cancelled") if cancelled else e.TicketPassed()
    )


def end_all(ticket: Ticket, reason: str, end: Event) -> Events:
    """The ticket ends, whatever its tasks have come to; nothing if it has ended."""
    if not ticket.is_open:
        return ()
    names = [name for name, task in ticket.tasks.items() if not task.has_ended]
    return (*(e.TasksCancelled(tasks=some, reason=reason) for some in chunks(names)), end)


def tasks_skipped(roots: Mapping[str, str]) -> Iterator[Event]:
    """Events that skip tasks because of the root that each is given with."""
    by_root: dict[str, list[str]] = {}
    for name, root in roots.items():
        by_root.setdefault(root, []).append(name)
    for root, names in by_root.items():
        yield from (e.TasksSkipped(tasks=some, because=root) for some in chunks(names))


def tasks_ready(names: Sequence[str]) -> Iterator[Event]:
    """Events that make tasks ready."""
    return (e.TasksReady(tasks=some) for some in chunks(names))


def all_ready(ticket: Ticket) -> Iterator[Event]:
    """Events that make ready what waits for nothing any more but this."""
    return tasks_ready(
        [
            name
            for name, task in ticket.tasks.items()
            if task.state is TaskState.BLOCKED and not task.waiting
        ]
    )


def chunks(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The names in parts that fit into a record."""
    return (tuple(names[n : n + e.CHUNK]) for n in range(0, len(names), e.CHUNK))


def awaited(ticket: Ticket, need: str) -> bool:
    """Whether what needs the task must wait."""
    return ticket.tasks[need].state is not TaskState.PASSED


def task_of(ticket: Ticket, name: str, field: str = "task") -> Task:
    """The task. Raises UnknownTask."""
    task = ticket.tasks.get(name)
    if task is None:
        raise UnknownTask(field=field, task=name)
    return task


def tasks_named(ticket: Ticket, names: Iterable[str]) -> dict[str, Task]:
    """The tasks by name, each once. Raises UnknownTask."""
    return {name: task_of(ticket, name, f"tasks[{n}]") for n, name in enumerate(names)}


def must_be_open(ticket: Ticket, reason: str) -> None:
    """Raises Ended."""
    if not ticket.is_open:
        raise Ended(state=ticket.state, reason=reason)


def must_be_due(what: str, since: datetime, seconds: float, now: datetime) -> None:
    """Raises NotDue until so many *seconds* after *since*."""
    due = since + timedelta(seconds=seconds)
    if now < due:
        raise NotDue(what=what, due=due.isoformat(), now=now.isoformat())
