"""The small words that commands and events of a ticket share."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from domain.event import Value
from domain.workflow import Id, Line, Text


class Execution(StrEnum):
    """Did the attempt *run*? Three kinds of bad news stay apart.

    The phase decides, not the log's words: what fails before the task's own code starts or after
    it has ended is INFRASTRUCTURE (retried), a wrong workflow or revision is CONFIGURATION
    (never retried), and what happens during it is the test's own affair: OK with an outcome, or
    TIMED_OUT.
    """

    OK = "ok"
    INFRASTRUCTURE = "infrastructure"
    CONFIGURATION = "configuration"
    TIMED_OUT = "timed_out"


class Outcome(StrEnum):
    """What did the test *say*? The words are ResultsDB's, and `skipped`."""

    PASSED = "passed"
    FAILED = "failed"
    INFO = "info"
    NEEDS_INSPECTION = "needs_inspection"
    SKIPPED = "skipped"


class Limit(StrEnum):
    """A stage of a task that may last only so long."""

    QUEUE = "queue"
    START = "start"
    RUN = "run"


class Scope(StrEnum):
    """What is run again."""

    TICKET = "ticket"
    FAILED = "failed"
    TASKS = "tasks"


class Result(Value, frozen=True):
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


class Precedence(Value, frozen=True):
    """A ticket takes the place of older ones of the same key.

    `order` is what the forge says is newer (its sequence, or the time of the event there).
    """

    key: Line
    order: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Told(Value, frozen=True, kw_only=True):
    """What a worker says at the end of an attempt, kept whole in the event that ends it."""

    execution: Execution = Execution.OK
    outcome: Outcome | None = None
    reason: Text = ""
    results: tuple[Result, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    log: Line | None = None


Ids = tuple[Id, ...]

Awaited = Annotated[tuple[Id, ...], Meta(max_length=100)]
"""The ids of tickets that must have passed before the tasks of another may start."""
