"""The words that tickets and their tasks are told in.

What is read has them as text, so that a word which this package does not know yet is no error:
`ticket.state == TicketState.PASSED` holds for either.
"""

from enum import StrEnum


class TicketState(StrEnum):
    """Where a ticket is on its way."""

    ABSENT = "absent"
    QUEUED = "queued"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


class TaskState(StrEnum):
    """Where a task is on its way."""

    ABSENT = "absent"
    BLOCKED = "blocked"
    HELD = "held"
    READY = "ready"
    CLAIMED = "claimed"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class WorkerState(StrEnum):
    """Whether a worker is there, and may claim."""

    ABSENT = "absent"
    AVAILABLE = "available"
    DRAINING = "draining"
    GONE = "gone"


class Execution(StrEnum):
    """Did the attempt *run*?"""

    OK = "ok"
    INFRASTRUCTURE = "infrastructure"
    CONFIGURATION = "configuration"
    TIMED_OUT = "timed_out"


class Outcome(StrEnum):
    """What did the test *say*?"""

    PASSED = "passed"
    FAILED = "failed"
    INFO = "info"
    NEEDS_INSPECTION = "needs_inspection"
    SKIPPED = "skipped"


class Scope(StrEnum):
    """What is run again."""

    TICKET = "ticket"
    FAILED = "failed"
    TASKS = "tasks"
