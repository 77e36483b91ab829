"""Tickets that are larger than a request may be are sent in parts."""

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

import msgspec

from .workflow import Opening, TaskSpec, encode, encode_value, invalid

PART: Final = 400 * 1024
"""Bytes that are sent as one: the log takes no record over 512 KiB, its envelope included."""


Tasks = tuple[TaskSpec, ...]


def split(opening: Opening) -> tuple[Opening, list[Tasks]]:
    """The ticket, or where it is too large an unsealed one with the tasks that follow in parts.

    Each part's tasks need only such as are in it or before it. The same ticket makes the same
    parts. Raises Invalid for what the server would find out only when half of it is there.
    """
    size = len(encode(opening))
    if size <= PART:
        return opening, []
    rest = size - len(encode_value(opening.tasks))
    first, *more = _by_size(needs_first(opening.tasks), rest)
    return msgspec.structs.replace(opening, tasks=first, sealed=False), more


def needs_first(tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    """The tasks, each behind those that it needs, otherwise in their order.

    Raises Invalid if there is no such order.
    """
    by_name = {task.name: task for task in tasks}
    if len(by_name) < len(tasks):
        raise invalid("tasks", "a name is there twice")
    for n, task in enumerate(tasks):
        for need in task.needs:
            if need not in by_name:
                raise invalid(f"tasks[{n}].needs", f"there is no task {need!r}")
    try:
        TopologicalSorter({task.name: task.needs for task in tasks}).prepare()
    except CycleError as cycle:
        raise invalid("tasks", "a cycle, " + " needs ".join(cycle.args[1][::-1])) from None
    placed: dict[str, TaskSpec] = {}
    for task in tasks:
        path = [task]
        while path:
            missing = [by_name[need] for need in path[-1].needs if need not in placed]
            if missing:
                path += reversed(missing)
            else:
                last = path.pop()
                placed.setdefault(last.name, last)
    return list(placed.values())


def _by_size(tasks: Sequence[TaskSpec], rest: int) -> Iterator[Tasks]:
    """The tasks in parts; the first of them leaves room for the *rest*."""
    part: list[TaskSpec] = []
    filled = rest
    for task in tasks:
        size = len(encode_value(task)) + 1
        if part and filled + size > PART:
            yield tuple(part)
            part, filled = [], 0
        part.append(task)
        filled += size
    yield tuple(part)
