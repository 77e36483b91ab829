"""What a task of kind `shell` may say: the commands to run, and what is around them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from domain.errors import Invalid
from domain.event import Value
from domain.faults import invalid

KIND: Final = "shell"
"""The kind of runner's work whose parameters these are."""

RESERVED: Final = "TURNSTILE_"
"""Environment variables that begin so are the runner's: by them it finds what it has started."""

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
Variable = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
Content = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
Path = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
Duration = Annotated[float, Meta(gt=0, le=366 * 86_400)]

Commands = (
    Annotated[str, Meta(min_length=1, pattern=r"\A[^\x00]*\Z")]
    | Annotated[tuple[Content, ...], Meta(min_length=1)]
)
"""A text for `/bin/sh -e`, or a program and its arguments, which no shell sees."""


class Condition(StrEnum):
    """When a step runs: while nothing has failed, or whatever has happened before it."""

    SUCCESS = "success"
    ALWAYS = "always"


class Step(Value, frozen=True):
    """One part of a task, with a result of its own. `timeout` in seconds."""

    name: Name
    run: Commands
    if_: Condition = msgspec.field(default=Condition.SUCCESS, name="if")
    environment: dict[Variable, Content] = {}
    timeout: Duration | None = None


class Shell(Value, frozen=True):
    """The parameters of a `shell` task: one command, or steps in order.

    `artifacts` are globs below the `directory`, which is a path inside the sources. `secrets`
    says which variable gets which secret, by its name. With `network=False` a runner that cannot
    keep the task from the network does not run it. `log_limit` in bytes.
    """

    command: Commands | None = None
    steps: Annotated[tuple[Step, ...], Meta(max_length=1_000)] = ()
    environment: dict[Variable, Content] = {}
    artifacts: Annotated[tuple[Path, ...], Meta(max_length=1_000)] = ()
    secrets: dict[Variable, Name] = {}
    network: bool = True
    directory: Path = "."
    log_limit: Annotated[int, Meta(ge=1, lt=2**53)] | None = None


def shell_of(parameters: Mapping[str, Any], field: str = "run.parameters") -> Shell:
    """The *parameters*, which are in that *field*, understood.

    Raises:
        Invalid: an unknown or missing field, a value of another type, a command beside steps,
            two steps of a name, a path that leads out of the sources, a glob that is none, a
            variable that is the runner's or that is both a secret and not.
    """
    try:
        shell = msgspec.convert(parameters, Shell)
    except msgspec.ValidationError as error:
        raise invalid(error, under=field) from error
    if shell.command is not None and shell.steps:
        raise Invalid(field=f"{field}.steps", reason="there is a command: it is either of them")
    _check_variables(f"{field}.environment", shell.environment)
    _check_variables(f"{field}.secrets", shell.secrets)
    for name in shell.secrets:
        if name in shell.environment:
            reason = "it is in the environment already"
            raise Invalid(field=f"{field}.secrets.{name}", reason=reason)
    names: set[str] = set()
    for n, step in enumerate(shell.steps):
        if step.name in names:
            reason = f"{step.name!r} is there already"
            raise Invalid(field=f"{field}.steps[{n}].name", reason=reason)
        names.add(step.name)
        _check_variables(f"{field}.steps[{n}].environment", step.environment)
    _check_path(f"{field}.directory", shell.directory)
    for n, glob in enumerate(shell.artifacts):
        _check_path(f"{field}.artifacts[{n}]", glob)
        _check_glob(f"{field}.artifacts[{n}]", glob)
    return shell


def steps_of(shell: Shell, field: str = "run.parameters") -> tuple[Step, ...]:
    """What is to be run: a command is one step of the name `command`. Raises Invalid if nothing.

    A ticket may be opened with a task that has nothing to run: another runner than ours may know
    what to do. Here it is a wrong configuration.
    """
    if shell.command is not None:
        return (Step(name="command", run=shell.command),)
    if not shell.steps:
        raise Invalid(field=field, reason="it has neither a command nor steps")
    return shell.steps


def _check_variables(field: str, names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(RESERVED):
            raise Invalid(field=f"{field}.{name}", reason=f"{RESERVED}… is for the runner")


def _check_path(field: str, path: str) -> None:
    if path.startswith("/") or ".." in path.split("/"):
        raise Invalid(field=field, reason="it is a path inside the sources, without `..`")


def _check_glob(field: str, glob: str) -> None:
    if any("**" in part and part != "**" for part in glob.split("/")):
        reason = "`**` is a part by itself, for folders in folders, as in `out/**/*.log`"
        raise Invalid(field=field, reason=reason)
