"""Tickets begin and grow: open, add tasks, seal. No record grows too large."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from domain.errors import (
    DifferentBody,
    Invalid,
    StaleToken,
    TooLarge,
)
from domain.event import CommandNoted, Event
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.follows import (
    Events,
    all_ready,
    awaited,
    chunks,
    must_be_open,
    task_of,
    tasks_ready,
    tasks_skipped,
    verdict,
)
from domain.ticket.state import Ticket
from domain.workflow import MAX_TASK_SIZE, TaskSpec, check, needs_first

LIFETIME: Final = timedelta(days=7)
"""Until the deadline of a ticket that was opened without one. Every ticket ends."""


FARTHEST: Final = timedelta(days=366)
"""How far a ticket may look ahead: to its not_before, and from there to its deadline."""


RECORD: Final = MAX_TASK_SIZE
"""Bytes of tasks that go into one event; well below what a record may have."""


_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def open_ticket(ticket: Ticket, ticket_id: str, command: c.Open, now: datetime) -> Events:
    """The ticket begins; the same body again is the same ticket."""
    encoded = _encode(command)
    body = _digest(encoded)
    if ticket.exists:
        if ticket.body == body:
            return (CommandNoted(version=1),)
        raise DifferentBody(field="id", what="the ticket")
    if command.sealed and not command.tasks:
        raise Invalid(field="tasks", reason="a ticket has at least one task")
    check(command.tasks)
    _check_awaited(command.waits_for, ticket_id)
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
        waits_for=command.waits_for,
    )
    added = (e.TasksAdded(tasks=tasks, body=body) for tasks in rest)
    may_begin = command.sealed and not command.waits_for
    return (opened, *added, *_begin(ticket, command.tasks, may_begin=may_begin))


def _check_awaited(waits_for: Sequence[str], ticket_id: str) -> None:
    for n, other in enumerate(waits_for):
        if other == ticket_id:
            raise Invalid(field=f"waits_for[{n}]", reason="a ticket cannot wait for itself")
        if other in waits_for[:n]:
            raise Invalid(field=f"waits_for[{n}]", reason=f"{other!r} is there already")


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


def add_tasks(ticket: Ticket, command: c.AddTasks, now: datetime) -> Events:
    """The ticket grows; the same tasks again are the same."""
    if command.by_task is not None or command.token is not None:
        task = task_of(ticket, command.by_task or "", "by_task")
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
    must_be_open(ticket, "it takes no more tasks")
    check(command.tasks, ticket.tasks)
    return (
        *(
            e.TasksAdded(tasks=tasks, body=body, by_task=command.by_task)
            for tasks in _by_size(command.tasks, len(encoded))
        ),
        *_begin(ticket, command.tasks, may_begin=ticket.may_begin),
    )


def _begin(ticket: Ticket, specs: Sequence[TaskSpec], *, may_begin: bool) -> Iterator[Event]:
    """Where new tasks go at once: held, skipped because of what has ended, or ready."""
    held = [spec.name for spec in specs if spec.held]
    yield from (e.TasksHeld(tasks=names) for names in chunks(held))
    skipped: dict[str, str] = {}
    ready: list[str] = []
    new = {spec.name: spec for spec in specs}
    dependants: dict[str, list[str]] = {}
    for spec in specs:
        for need in spec.needs:
            dependants.setdefault(need, []).append(spec.name)
        if not spec.held and not any(need in new or awaited(ticket, need) for need in spec.needs):
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
    yield from tasks_skipped(skipped)
    if may_begin:
        yield from tasks_ready(ready)


def seal(ticket: Ticket, command: c.Seal, now: datetime) -> Events:
    """The workflow is complete: what waits for nothing is ready."""
    if ticket.sealed:
        return ()
    must_be_open(ticket, "it cannot be completed")
    if not ticket.tasks:
        raise Invalid(field="tasks", reason="a ticket has at least one task")
    if not ticket.unfinished:
        return (e.TicketSealed(), verdict(ticket.failed, ticket.errored, ticket.cancelled))
    return (e.TicketSealed(), *(() if ticket.waits_for else all_ready(ticket)))


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
