"""Tickets of tiny real tasks, each with what it must come to whatever is broken meanwhile."""

import random
from typing import Final

from msgspec import Struct

from domain.ticket import commands as c
from domain.ticket.automata import TicketState
from domain.workflow import Run, Subject, Takes, TaskSpec, Timeouts

LEASE: Final = 3.0
"""Seconds of a lease, which is a task's `timeouts.heartbeat`."""

LONG: Final = 1.4 * LEASE
"""Seconds of a task that its lease does not outlast by itself."""

RETRIES: Final = 100
"""More losses than there are faults: none of them may decide what a ticket comes to."""

PASSED: Final = "task_passed"
FAILED: Final = "task_failed"


class Ticket(Struct, frozen=True):
    """What opens a ticket, and what it comes to: its state, and how each of its tasks ends.

    A task that is not in `ends` never runs. A passed or failed one has said its `lines` before.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    state: TicketState
    ends: dict[str, str]
    lines: int

    def opening(self) -> c.Open:
        """The command."""
        return c.Open(subject=Subject("commit", "tower", self.name, "c0ffee"), tasks=self.tasks)

    def said(self, task: str) -> bytes:
        """What a task says between the marks of its step."""
        return b"".join(f"{self.name} {task} {n}\n".encode() for n in range(1, self.lines + 1))


def some(name: str, chance: random.Random) -> Ticket:
    """A ticket of a kind that chance chooses."""
    lines = chance.choice((1, 20, 300))
    tasks: tuple[TaskSpec, ...]
    state, ends = TicketState.PASSED, {"A": PASSED, "B": PASSED}
    match chance.choice(("one", "one", "long", "pair", "failing", "optional", "artifact")):
        case "one":
            tasks = (_task("A", lines, f"sleep {chance.uniform(0, 0.4):.2f}"),)
            ends = {"A": PASSED}
        case "long":
            tasks = (_task("A", lines, f"sleep {LONG:g}"),)
            ends = {"A": PASSED}
        case "pair":
            tasks = (_task("A", lines), _task("B", lines, needs=("A",)))
        case "failing":
            tasks = (_task("A", lines, "exit 3"), _task("B", lines, needs=("A",)))
            state, ends = TicketState.FAILED, {"A": FAILED}
        case "optional":
            tasks = (_task("A", lines, "kill $$", required=False), _task("B", lines))
            ends = {"A": FAILED, "B": PASSED}
        case _:
            tasks = (
                _task("A", lines, f"mkdir out; echo {name} > out/left.txt", leaves="out/*.txt"),
                _task("B", lines, f"grep -qx {name} artifacts/A/out/left.txt", takes="A"),
            )
    return Ticket(name, tasks, state, ends, lines)


def _task(
    name: str,
    lines: int,
    command: str = ":",
    *,
    needs: tuple[str, ...] = (),
    takes: str = "",
    leaves: str = "",
    required: bool = True,
) -> TaskSpec:
    say = f'for n in $(seq {lines}); do echo "$TURNSTILE_TICKET $TURNSTILE_TASK $n"; done'
    parameters = {"command": f"{say}\n{command}", "artifacts": [leaves] if leaves else []}
    return TaskSpec(
        name=name,
        run=Run("shell", parameters),
        needs=(takes,) if takes else needs,
        takes=(Takes(takes),) if takes else (),
        retries=RETRIES,
        timeouts=Timeouts(heartbeat=LEASE),
        required=required,
    )
