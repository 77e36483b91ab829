"""What may have happened to a ticket. Stored for ever: see `domain.event` before changing one.

An event about many tasks names at most `CHUNK` of them, so that no record grows too large.
"""

from datetime import datetime
from typing import Any, Final

from domain.event import Event
from domain.ticket.words import Awaited, Ids, Precedence, Told
from domain.workflow import Id, Line, Rank, Subject, TaskSpec, Text

CHUNK: Final = 2_000


class TicketOpened(Event, frozen=True):
    """The ticket exists. `body` is the digest of what was asked, to know it again."""

    topic = "turnstile.ticket.opened"
    class_version = 2

    subject: Subject
    body: bytes
    deadline: datetime
    tasks: tuple[TaskSpec, ...] = ()
    labels: dict[Line, Text] = {}
    priority: Rank = 0
    not_before: datetime | None = None
    supersedes: Precedence | None = None
    sealed: bool = True
    waits_for: Awaited = ()

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Version 1 waited for no other tickets."""


class TasksAdded(Event, frozen=True):
    """The ticket grew. `body` as in TicketOpened, for the whole of what one command added."""

    topic = "turnstile.ticket.tasks_added"

    tasks: tuple[TaskSpec, ...]
    body: bytes
    by_task: Id | None = None


class TicketSealed(Event, frozen=True):
    """The workflow that was sent in parts is complete: its tasks may start."""

    topic = "turnstile.ticket.sealed"


class PriorityChanged(Event, frozen=True):
    """The ticket moves in the queue."""

    topic = "turnstile.ticket.priority_changed"

    priority: Rank
    reason: Text = ""


class AwaitedPassed(Event, frozen=True):
    """A ticket that this one waits for passed. Behind the last of them its tasks may start."""

    topic = "turnstile.ticket.awaited_passed"

    ticket: Id


class TasksReady(Event, frozen=True):
    """Nothing inside the ticket stands in the way of these tasks."""

    topic = "turnstile.ticket.tasks_ready"

    tasks: Ids


class TasksHeld(Event, frozen=True):
    """A gate closed before these tasks."""

    topic = "turnstile.ticket.tasks_held"

    tasks: Ids
    reason: Text = ""


class TasksUnheld(Event, frozen=True):
    """The gate before these tasks was opened."""

    topic = "turnstile.ticket.tasks_unheld"

    tasks: Ids
    reason: Text = ""


class TaskClaimed(Event, frozen=True):
    """A worker has the task. The version of this event is the attempt's fencing token.

    `lease` is in seconds, from when the worker hears of it. `request` is the claim request's id.
    """

    topic = "turnstile.ticket.task_claimed"

    task: Id
    worker: Id
    request: Id
    lease: float


class TaskStarted(Event, frozen=True):
    """The task's own code runs."""

    topic = "turnstile.ticket.task_started"

    task: Id
    token: int


class LeaseLost(Event, frozen=True):
    """The worker was not heard of in time; the attempt is over, the task waits again."""

    topic = "turnstile.ticket.lease_lost"
    class_version = 2

    task: Id
    token: int
    reason: Text

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Version 1 knew one reason only and did not say it."""
        state["reason"] = "the lease ran out"


class ClaimReturned(Event, frozen=True):
    """The worker handed the task back."""

    topic = "turnstile.ticket.claim_returned"

    task: Id
    token: int
    reason: Text = ""


class ClaimRevoked(Event, frozen=True):
    """Somebody took the task from its worker."""

    topic = "turnstile.ticket.claim_revoked"

    task: Id
    token: int
    reason: Text = ""


class TaskRetried(Told, Event, frozen=True, kw_only=True):
    """The infrastructure failed under the attempt; the task waits again."""

    topic = "turnstile.ticket.task_retried"

    task: Id
    token: int


class TaskPassed(Told, Event, frozen=True, kw_only=True):
    """The attempt ran and the test is content."""

    topic = "turnstile.ticket.task_passed"

    task: Id
    token: int


class TaskFailed(Told, Event, frozen=True, kw_only=True):
    """The attempt ran and the test is not content."""

    topic = "turnstile.ticket.task_failed"

    task: Id
    token: int


class TaskTimedOut(Told, Event, frozen=True, kw_only=True):
    """The task's own code ran longer than it may."""

    topic = "turnstile.ticket.task_timed_out"

    task: Id
    token: int


class TaskSkipped(Told, Event, frozen=True, kw_only=True):
    """The attempt ran and the test says that there was nothing to do for it."""

    topic = "turnstile.ticket.task_skipped"

    task: Id
    token: int


class TaskErrored(Told, Event, frozen=True, kw_only=True):
    """The task could not be executed. Without a token no attempt was under way."""

    topic = "turnstile.ticket.task_errored"

    task: Id
    token: int | None = None


class TasksSkipped(Event, frozen=True):
    """These tasks will not run, because of how `because`, which they need, has ended."""

    topic = "turnstile.ticket.tasks_skipped"

    tasks: Ids
    because: Id


class TasksCancelled(Event, frozen=True):
    """Somebody, or the end of the ticket, ended these tasks."""

    topic = "turnstile.ticket.tasks_cancelled"

    tasks: Ids
    reason: Text = ""


class TasksReset(Event, frozen=True):
    """These tasks begin anew. A ticket that had ended runs again, until `deadline`."""

    topic = "turnstile.ticket.tasks_reset"

    tasks: Ids
    deadline: datetime | None = None
    reason: Text = ""


class ReportRefused(Event, frozen=True):
    """A report came for an attempt that was over; once per attempt, so that history tells."""

    topic = "turnstile.ticket.report_refused"
    accepts = False

    task: Id
    token: int


class TicketPassed(Event, frozen=True):
    """Every required task passed."""

    topic = "turnstile.ticket.passed"


class TicketFailed(Event, frozen=True):
    """A required task failed or ran too long."""

    topic = "turnstile.ticket.failed"


class TicketErrored(Event, frozen=True):
    """A required task could not be executed."""

    topic = "turnstile.ticket.errored"


class TicketCancelled(Event, frozen=True):
    """Somebody ended the ticket, or a required task of it."""

    topic = "turnstile.ticket.cancelled"

    reason: Text = ""


class TicketSuperseded(Event, frozen=True):
    """A newer ticket took its place."""

    topic = "turnstile.ticket.superseded"

    by: Id


class TicketExpired(Event, frozen=True):
    """The deadline passed."""

    topic = "turnstile.ticket.expired"

    reason: Text = ""


EVENTS: Final[tuple[type[Event], ...]] = (
    TicketOpened,
    TasksAdded,
    TicketSealed,
    PriorityChanged,
    AwaitedPassed,
    TasksReady,
    TasksHeld,
    TasksUnheld,
    TaskClaimed,
    TaskStarted,
    LeaseLost,
    ClaimReturned,
    ClaimRevoked,
    TaskRetried,
    TaskPassed,
    TaskFailed,
    TaskTimedOut,
    TaskSkipped,
    TaskErrored,
    TasksSkipped,
    TasksCancelled,
    TasksReset,
    ReportRefused,
    TicketPassed,
    TicketFailed,
    TicketErrored,
    TicketCancelled,
    TicketSuperseded,
    TicketExpired,
)
