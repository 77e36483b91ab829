"""Runs the steps of a task in a room, and says what became of each.

A step that is a text is run by `/bin/sh -e -c`, on every machine the same, and its first command
that fails ends it. Who wants another shell names it: `["bash", "-euo", "pipefail", "-c", "…"]`.
"""

import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from adapters.execution.provider import Exit, Output, Room
from domain.errors import Invalid
from domain.shell import Commands, Condition, Shell, Step
from domain.ticket.words import Execution, Outcome, Result

SHELL: Final = ("/bin/sh", "-e", "-c")

Telling = Callable[[Result], Awaitable[None]]
"""Takes the result of a step as soon as it is known."""


class Ran(Struct, frozen=True):
    """What became of a task's steps: the part of a report that they decide."""

    execution: Execution
    outcome: Outcome | None
    reason: str
    results: tuple[Result, ...]


def place_of(shell: Shell, work: Path, field: str = "run.parameters") -> Path:
    """Where in the work tree the commands run, after the sources are there. Raises Invalid."""
    place = work / shell.directory
    if not place.is_dir() or not place.resolve().is_relative_to(work.resolve()):
        reason = f"there is no directory {shell.directory!r} in the sources"
        raise Invalid(field=f"{field}.directory", reason=reason)
    return place


async def run_steps(
    room: Room,
    task: str,
    steps: Sequence[Step],
    *,
    environment: Mapping[str, str],
    directory: Path,
    limit: float,
    output: Output,
    told: Telling | None = None,
) -> Ran:
    """Run the steps in order, which together may take *limit* seconds.

    The first that fails ends the task, but for those that are to run always. A step that takes
    too long, or finds no time left for it, makes the attempt one that timed out. Into the output
    go lines that say which step begins and how it ended. Raises RoomBroken.
    """
    log = _Log(output)
    deadline = time.monotonic() + limit
    results: list[Result] = []
    reason, timed_out = "", False
    for n, step in enumerate(steps, start=1):
        left = deadline - time.monotonic()
        if left <= 0 and not reason:
            reason, timed_out = f"no time was left for step {step.name!r}", True
        if left <= 0 or (reason and step.if_ is not Condition.ALWAYS):
            why = "no time was left for it" if left <= 0 else "a step before it has failed"
            result = _result(task, step, Outcome.SKIPPED, why)
            await log.mark(f"step {n} of {len(steps)}, {step.name}: skipped, {why}")
        else:
            await log.mark(f"step {n} of {len(steps)}: {step.name}")
            ended = await room.run(
                _argv(step.run),
                environment={**environment, **step.environment},
                directory=directory,
                limit=min(left, step.timeout or left),
                output=log.write,
            )
            passed = ended.status == 0 and not ended.timed_out
            how = _how(ended)
            outcome = Outcome.PASSED if passed else Outcome.FAILED
            result = _result(task, step, outcome, how, round(ended.seconds, 3))
            await log.mark(f"{step.name}: {how}, {ended.seconds:.1f} s")
            if not passed and not reason:
                reason, timed_out = f"step {step.name!r}: {how}", ended.timed_out
        results.append(result)
        if told is not None:
            await told(result)
    if timed_out:
        return Ran(Execution.TIMED_OUT, None, reason, tuple(results))
    outcome = Outcome.FAILED if reason else Outcome.PASSED
    return Ran(Execution.OK, outcome, reason, tuple(results))


class _Log:
    """The output, in which our own lines stand out and begin at the beginning of one."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._fresh = True

    async def write(self, data: bytes) -> None:
        self._fresh = data.endswith(b"\n")
        await self._output(data)

    async def mark(self, sentence: str) -> None:
        begin = "" if self._fresh else "\n"
        await self.write(f"{begin}=== {sentence} ===\n".encode())


def _argv(run: Commands) -> Sequence[str]:
    return (*SHELL, run) if isinstance(run, str) else run


def _result(
    task: str, step: Step, outcome: Outcome, summary: str, duration: float | None = None
) -> Result:
    return Result(f"{task}/{step.name}", outcome, summary, duration)


def _how(ended: Exit) -> str:
    """The end of a command, for people."""
    if ended.reason:
        return ended.reason
    if ended.signal is not None:
        how = f"ended by {_name(ended.signal)}"
    else:
        how = f"exit status {ended.status}"
    return f"took too long, {how}" if ended.timed_out else how


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # those of real time have no names
        return f"signal {number}"
