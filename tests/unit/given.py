"""The harness of the specification: `given(*facts).when(command).then(*events)`.

A fact is a command, which stands for the events that it causes, or a time that passes.
What needs the token of an attempt is said by `start("A")`, `passed("A")` and so on: they show
the token of the task's last attempt, unless another is chosen (`attempt=0` is the first).
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from domain.envelope import Recorded, Submitted
from domain.errors import Refused
from domain.event import Command, CommandNoted, Event
from domain.kinds import DECIDERS
from domain.stream import Stream
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.state import Task, Ticket
from domain.ticket.words import Execution, Limit, Outcome
from domain.workflow import Run, Subject, TaskSpec

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECT: Final = Subject(kind="commit", project="tower", name="main", revision="c0ffee")

CommandOf = Callable[[Ticket], Command]
"""A command that shows a token of the ticket."""

Fact = Command | CommandOf | timedelta


class Given:
    """A stream, mostly a ticket, with its history, at a time."""

    def __init__(self, *facts: Fact, stream: str = "ticket/9") -> None:
        decider = DECIDERS.of(stream)
        assert decider is not None
        self.decider = decider
        self.stream = Stream(id=stream, state=decider.initial())
        self.now = NOON
        self.history: list[Recorded] = []
        self._sent = 0
        self.after(*facts)

    def after(self, *facts: Fact) -> "Given":
        """The same ticket, to which this has happened too."""
        for fact in facts:
            if isinstance(fact, timedelta):
                self.now += fact
            else:
                submitted = self.submit(fact)
                self.record(self.decide(submitted), submitted)
        return self

    @property
    def ticket(self) -> Ticket:
        """The ticket as it is now."""
        ticket: Ticket = self.stream.state
        return ticket

    @property
    def state(self) -> TicketState:
        """Where the ticket is on its way."""
        return self.ticket.state

    @property
    def tasks(self) -> dict[str, TaskState]:
        """Where its tasks are on theirs."""
        return {name: task.state for name, task in self.ticket.tasks.items()}

    @property
    def events(self) -> list[Event]:
        """All that has happened."""
        return [recorded.event for recorded in self.history]

    def task(self, name: str) -> Task:
        """One of its tasks."""
        return self.ticket.tasks[name]

    def submit(
        self,
        command: Command | CommandOf,
        id: UUID | None = None,
        patience: float | None = None,
    ) -> Submitted:
        """The command on its way, under an id of its own unless one is given."""
        if not isinstance(command, Command):
            command = command(self.ticket)
        self._sent += 1
        return Submitted(
            id=id or UUID(int=self._sent),
            stream=self.stream.id,
            command=command,
            actor="a test",
            patience=patience,
        )

    def decide(self, submitted: Submitted, waited: timedelta = timedelta()) -> tuple[Event, ...]:
        """What the command causes, which came in a while ago."""
        return self.stream.decide(self.decider, submitted, self.now, self.now - waited)

    def record(self, events: tuple[Event, ...], submitted: Submitted) -> list[Recorded]:
        """Make facts of the events."""
        facts = self.stream.record(events, submitted, self.now)
        for fact in facts:
            self.stream.fold(self.decider, fact)
        self.history += facts
        return facts

    def when(
        self,
        command: Command | CommandOf,
        *,
        id: UUID | None = None,
        patience: float | None = None,
        waited: timedelta = timedelta(),
    ) -> "When":
        """The command is decided."""
        return When(self, self.submit(command, id, patience), waited)

    def snapshot(self) -> bytes:
        """The whole state, to see whether it changes."""
        return msgspec.msgpack.encode(
            (self.stream.state, self.stream.version, self.stream.accepted)
        )


class When:
    """What became of a command."""

    def __init__(self, given: Given, submitted: Submitted, waited: timedelta) -> None:
        self.given = given
        self.submitted = submitted
        self.events: tuple[Event, ...] = ()
        self.refusal: Refused | None = None
        before = given.snapshot()
        try:
            self.events = given.decide(submitted, waited)
        except Refused as refusal:
            self.refusal = refusal
        assert before == given.snapshot(), "a decision changed the state"

    def then(self, *expected: Event) -> Given:
        """These events, which are now facts."""
        if self.refusal is not None:
            raise self.refusal
        assert expected == self.events
        self.given.record(self.events, self.submitted)
        return self.given

    def then_nothing(self) -> Given:
        """It was accepted and changed nothing."""
        if self.refusal is not None:
            raise self.refusal
        assert () == tuple(event for event in self.events if not isinstance(event, CommandNoted))
        self.given.record(self.events, self.submitted)
        return self.given

    def refused(
        self,
        expected: type[Refused],
        *,
        match: str = "",
        field: str | None = None,
        leaves: tuple[Event, ...] = (),
    ) -> Given:
        """Refused with these words, leaving these events."""
        assert self.refusal is not None, f"not refused: {self.events}"
        assert expected is type(self.refusal)
        assert re.search(match, str(self.refusal)), f"{match!r} not in {str(self.refusal)!r}"
        assert field is None or field == self.refusal.field
        assert leaves == self.refusal.leaves
        self.given.record(self.refusal.leaves, self.submitted)
        return self.given

    @property
    def answer(self) -> int:
        """The version with which the command is answered. Makes facts of what it caused."""
        self.given.record(self.events, self.submitted)
        return self.given.stream.accepted[self.submitted.id.bytes]


def given(*facts: Fact) -> Given:
    """A ticket to which all this has happened."""
    return Given(*facts)


# ------------------------------------------------------------------------------------ workflows


def task(name: str, *needs: str, **rest: Any) -> TaskSpec:
    """A task that needs others."""
    return TaskSpec(name=name, run=Run(kind="shell"), needs=needs, **rest)


def _specs(tasks: tuple[TaskSpec | str, ...]) -> tuple[TaskSpec, ...]:
    return tuple(task(each) if isinstance(each, str) else each for each in tasks)


def opening(*tasks: TaskSpec | str, **rest: Any) -> c.Open:
    """Open a ticket with these tasks; a name alone is a task that needs nothing."""
    return c.Open(subject=SUBJECT, tasks=_specs(tasks), **rest)


def adding(*tasks: TaskSpec | str, **rest: Any) -> c.AddTasks:
    """Add these tasks."""
    return c.AddTasks(tasks=_specs(tasks), **rest)


# ------------------------------------------------------------------------------------- attempts


def claim(name: str, worker: str = "w1", request: str = "r1", **rest: Any) -> c.Claim:
    """A worker claims the task."""
    return c.Claim(task=name, worker=worker, request=request, **rest)


def _of(kind: Callable[..., Command], name: str, attempt: int, **rest: Any) -> CommandOf:
    def command(ticket: Ticket) -> Command:
        return kind(task=name, token=ticket.tasks[name].attempts[attempt].token, **rest)

    return command


def start(name: str, *, attempt: int = -1) -> CommandOf:
    """The worker starts the task."""
    return _of(c.Start, name, attempt)


def report(
    name: str,
    outcome: Outcome | None = None,
    execution: Execution = Execution.OK,
    *,
    attempt: int = -1,
    **rest: Any,
) -> CommandOf:
    """The worker reports the end of the attempt."""
    return _of(c.Report, name, attempt, outcome=outcome, execution=execution, **rest)


def passed(name: str, *, attempt: int = -1, **rest: Any) -> CommandOf:
    """The worker reports that the test passed."""
    return report(name, Outcome.PASSED, attempt=attempt, **rest)


def failed(name: str, *, attempt: int = -1, **rest: Any) -> CommandOf:
    """The worker reports that the test failed."""
    return report(name, Outcome.FAILED, attempt=attempt, **rest)


def broke(name: str, *, attempt: int = -1, **rest: Any) -> CommandOf:
    """The worker reports that the infrastructure failed under the attempt."""
    return report(name, None, Execution.INFRASTRUCTURE, attempt=attempt, **rest)


def lose(name: str, *, attempt: int = -1) -> CommandOf:
    """The lease of the attempt has run out."""
    return _of(c.LoseLease, name, attempt)


def hand_back(name: str, *, attempt: int = -1, **rest: Any) -> CommandOf:
    """The worker returns its claim."""
    return _of(c.ReturnClaim, name, attempt, **rest)


def revoke(name: str, *, attempt: int = -1, **rest: Any) -> CommandOf:
    """Somebody takes the task from its worker."""
    return _of(c.Revoke, name, attempt, **rest)


def time_out(name: str, limit: Limit, *, attempt: int = -1) -> CommandOf:
    """The stage of the attempt has lasted too long."""
    return _of(c.TimeOut, name, attempt, limit=limit)


def working(name: str, worker: str = "w1") -> tuple[Fact, ...]:
    """The task is claimed and started."""
    return (claim(name, worker), start(name))


def ran(name: str, outcome: Outcome = Outcome.PASSED) -> tuple[Fact, ...]:
    """The task is claimed, started and reported."""
    return (*working(name), report(name, outcome))


def errored(name: str) -> tuple[Fact, ...]:
    """The task is claimed and its workflow found to be wrong."""
    return (claim(name), report(name, None, Execution.CONFIGURATION))
