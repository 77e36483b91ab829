"""What a runner and the server say to one another about attempts: claims, heartbeats, reports."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from .errors import Problem
from .words import Execution, Outcome
from .workflow import Id, Line, Subject, TaskSpec, Text, Value

Token = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""What a worker shows to prove that an attempt is its own."""


class Sent(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What is said to the server."""


class ClaimRequest(Sent, frozen=True, kw_only=True):
    """Give me so many `tasks`, or as many as there are; if there is none, `wait` for one.

    They are `only` such as require something of each of these.
    """

    session: Id
    request: Id
    tasks: Annotated[int, Meta(ge=1, le=100)] = 1
    wait: Annotated[float, Meta(ge=0, le=30.0)] = 0.0
    only: Annotated[tuple[Line, ...], Meta(max_length=16)] = ()


class Input(Struct, frozen=True):
    """An artifact of another `task` of the ticket, to be in its place before the run."""

    task: str
    name: str
    digest: str
    size: int


class Claimed(Struct, frozen=True, kw_only=True):
    """The worker has the task. The attempt is its own as long as nothing else is said.

    `token` proves it, and the `lease` lasts so many seconds from the last heartbeat; `attempt` is
    its number. With the `credential` the task does what is its own, and nothing else. `secrets` are
    variables of its environment, and go nowhere else.
    """

    ticket: str
    task: str
    token: int
    attempt: int
    lease: float
    credential: str
    subject: Subject
    spec: TaskSpec
    inputs: tuple[Input, ...] = ()
    secrets: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Claimed({self.ticket!r}, {self.task!r}, token={self.token})"


class Claims(Struct, frozen=True):
    """What was claimed, nothing if nothing came in time; and how the server sees the worker."""

    tasks: tuple[Claimed, ...]
    state: str


class AttemptRef(Struct, frozen=True, forbid_unknown_fields=True):
    """An attempt, by its token."""

    ticket: Id
    token: Token


class Heartbeat(Sent, frozen=True, kw_only=True):
    """The runner is there, and works on these."""

    session: Id
    attempts: Annotated[tuple[AttemptRef, ...], Meta(max_length=1_000)] = ()


class LostAttempt(Struct, frozen=True):
    """The attempt is over: end whatever runs for it, and tell nobody of it."""

    ticket: str
    token: int
    reason: str


class HeldAttempt(Struct, frozen=True):
    """The worker has a lease of it."""

    ticket: str
    token: int
    task: str


class Beat(Struct, frozen=True):
    """How the server sees the worker: what it named and has lost, and all that it has."""

    state: str
    lost: tuple[LostAttempt, ...]
    held: tuple[HeldAttempt, ...]


class CaseResult(Value, frozen=True):
    """What one test case said; `duration` in seconds, the log by reference."""

    testcase: Line
    outcome: Outcome
    summary: Text = ""
    duration: Annotated[float, Meta(ge=0)] | None = None
    log: Line | None = None


class Artifact(Value, frozen=True):
    """A file that a task leaves, by reference: digest `algorithm:hex`, size in bytes."""

    name: Line
    digest: Line
    size: Annotated[int, Meta(ge=0, lt=2**53)]
    url: Line | None = None


class Started(Sent, frozen=True, kw_only=True, tag_field="kind", tag="started"):
    """The task's own code starts."""

    ticket: Id
    task: Id
    token: Token


class Reported(Sent, frozen=True, kw_only=True, tag_field="kind", tag="reported"):
    """The attempt is over: did it run, and what did the test say?"""

    execution: Execution = Execution.OK
    outcome: Outcome | None = None
    reason: Text = ""
    results: tuple[CaseResult, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    log: Line | None = None
    ticket: Id
    task: Id
    token: Token


class Returned(Sent, frozen=True, kw_only=True, tag_field="kind", tag="returned"):
    """The worker hands the task back."""

    ticket: Id
    task: Id
    token: Token
    reason: Text = ""


Report = Started | Reported | Returned


class Reports(Sent, frozen=True, kw_only=True):
    """What has become of attempts."""

    session: Id
    reports: Annotated[tuple[Report, ...], Meta(min_length=1, max_length=100)]


class Said(Struct, frozen=True):
    """The answer to a report: what was accepted, or the problem."""

    ticket: str
    version: int | None = None
    partition: int | None = None
    sequence: int | None = None
    after: str | None = None
    problem: Problem | None = None


class Answers(Struct, frozen=True):
    """The answers to reports, in their order."""

    answers: tuple[Said, ...]


def attempt_of(claimed: Claimed) -> dict[str, Any]:
    """What names its attempt in a report."""
    return {"ticket": claimed.ticket, "task": claimed.task, "token": claimed.token}
