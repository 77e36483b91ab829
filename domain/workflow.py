"""What is tested and how: the subject, and the workflow that comes with the ticket."""

from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final

from msgspec import Meta

from domain.errors import Invalid
from domain.event import Value
from domain.shell import KIND, shell_of
from domain.sources import check_source

MAX_TASKS: Final = 20_000
"""Tasks of one ticket."""

MAX_DEPTH: Final = 32
"""Objects and arrays inside one another, in what a task gives as parameters."""

MAX_TASK_SIZE: Final = 256 * 1024
"""Bytes of one task, encoded: it must fit into a record, and may need ten thousand others."""

Id = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,128}\Z")]
"""1-128 of `A-Z a-z 0-9 . _ : -`: ids of tickets, tasks, workers."""

Line = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
"""One line of text, without control characters: names, revisions, urls."""

Text = Annotated[str, Meta(max_length=8192, pattern=r"\A[^\x00]*\Z")]
"""Text for people: reasons, summaries."""

Count = Annotated[int, Meta(ge=0, le=100)]
Rank = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=366 * 86_400)]
Requirements = dict[Line, tuple[Line, ...]]
"""`{dimension: values}`. A worker may run a task if its capabilities are a superset."""


class Subject(Value, frozen=True):
    """What is tested: `kind` is pull_request, commit, package, build or another such word."""

    kind: Id
    project: Line
    name: Line
    revision: Line
    url: Line | None = None


class Source(Value, frozen=True):
    """Where a task's files come from: kind `git`, `directory` or `archive`, and a revision."""

    kind: Id
    url: Line
    revision: Line | None = None
    parameters: dict[Line, Any] = {}


class Run(Value, frozen=True):
    """What a worker does: the kind of runner's work and its parameters."""

    kind: Id
    parameters: dict[Line, Any] = {}


class Takes(Value, frozen=True):
    """The artifacts that a task takes from one that it needs, as glob patterns."""

    task: Id
    artifacts: tuple[Line, ...] = ("*",)


class Timeouts(Value, frozen=True):
    """How long each stage may last, in seconds. `heartbeat` is the length of the lease."""

    queue: Seconds = 86_400.0
    start: Seconds = 600.0
    run: Seconds = 3_600.0
    heartbeat: Seconds = 60.0


class TaskSpec(Value, frozen=True):
    """One unit of scheduling inside a ticket.

    `retries` is how often the task is tried again after the *infrastructure* failed. A task with
    `required=False` never fails its ticket. A `held` task waits until somebody opens the gate.
    """

    name: Id
    run: Run
    needs: tuple[Id, ...] = ()
    takes: tuple[Takes, ...] = ()
    requires: Requirements = {}
    sources: tuple[Source, ...] = ()
    retries: Count = 2
    timeouts: Timeouts = Timeouts()
    required: bool = True
    held: bool = False


def check(tasks: Sequence[TaskSpec], known: Collection[str] = ()) -> None:
    """Refuse *tasks* that, with the *known* ones of the ticket, are no workflow.

    Raises:
        Invalid: a name twice, an unknown or repeated need, a need of itself, a cycle (its path
            is named), artifacts taken from a task that is not needed, too many tasks, parameters
            that are too deep or that not every reader can hold, or that a shell would not take,
            sources of a shell that no runner of ours knows.
    """
    if len(tasks) + len(known) > MAX_TASKS:
        raise Invalid(field="tasks", reason=f"a ticket has at most {MAX_TASKS} tasks")
    places: dict[str, int] = {}
    for at, task in enumerate(tasks):
        if task.name in places or task.name in known:
            raise Invalid(field=f"tasks[{at}].name", reason=f"{task.name!r} is there already")
        places[task.name] = at
    for at, task in enumerate(tasks):
        path = f"tasks[{at}]"
        _check_needs(path, task, places, known)
        _check_value(f"{path}.run.parameters", task.run.parameters)
        if task.run.kind == KIND and task.run.parameters:
            shell_of(task.run.parameters, f"{path}.run.parameters")
        for n, source in enumerate(task.sources):
            field = f"{path}.sources[{n}]"
            _check_value(f"{field}.parameters", source.parameters)
            if task.run.kind == KIND and task.run.parameters:
                check_source(source.kind, source.parameters, field)
    if any(task.needs for task in tasks):
        _check_order(tasks, places)


def _check_needs(
    path: str, task: TaskSpec, places: Mapping[str, int], known: Collection[str]
) -> None:
    needs: set[str] = set()
    for n, need in enumerate(task.needs):
        field = f"{path}.needs[{n}]"
        if need not in places and need not in known:
            raise Invalid(field=field, reason=f"there is no task {need!r}")
        if need in needs:
            raise Invalid(field=field, reason=f"{need!r} is there already")
        needs.add(need)
    for n, takes in enumerate(task.takes):
        if takes.task not in needs:
            reason = f"artifacts come from tasks that are needed, and {takes.task!r} is not"
            raise Invalid(field=f"{path}.takes[{n}].task", reason=reason)


def _check_order(tasks: Sequence[TaskSpec], places: Mapping[str, int]) -> None:
    try:
        TopologicalSorter({task.name: task.needs for task in tasks}).prepare()
    except CycleError as cycle:
        path: list[str] = cycle.args[1][::-1]  # graphlib names each before what needs it
        raise Invalid(
            field=f"tasks[{places[path[0]]}].needs", reason="a cycle, " + " needs ".join(path)
        ) from None


def _check_value(field: str, value: Any, depth: int = 0) -> None:
    """Parameters are anyone's, but every reader of the log has to be able to hold them."""
    match value:
        case dict() | list() if depth == MAX_DEPTH:
            raise Invalid(field=field, reason=f"it is nested more than {MAX_DEPTH} deep")
        case dict():
            for key, each in value.items():
                _check_value(field, key)
                _check_value(f"{field}.{key}" if depth < 3 else field, each, depth + 1)
        case list():
            for n, each in enumerate(value):
                _check_value(f"{field}[{n}]" if depth < 3 else field, each, depth + 1)
        case str() if "\0" in value:
            raise Invalid(field=field, reason="a text has no NUL")
        case int() if not -(2**63) <= value < 2**63:
            raise Invalid(field=field, reason="a whole number has at most 64 bits")
        case _:
            pass


def needs_first(tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    """The tasks, each behind those of them that it needs, otherwise in their order."""
    by_name = {task.name: task for task in tasks}
    placed: dict[str, TaskSpec] = {}
    for task in tasks:
        path = [task]
        while path:
            needs = (need for need in path[-1].needs if need in by_name and need not in placed)
            if missing := [by_name[need] for need in needs]:
                path += reversed(missing)
            else:
                last = path.pop()
                placed.setdefault(last.name, last)
    return list(placed.values())


def lacking(
    capabilities: Mapping[str, Sequence[str]], requires: Mapping[str, Sequence[str]]
) -> tuple[str, list[str]] | None:
    """The first dimension in which *capabilities* are no superset, with the missing values."""
    for dimension, values in requires.items():
        missing = [value for value in values if value not in capabilities.get(dimension, ())]
        if missing:
            return dimension, missing
    return None
