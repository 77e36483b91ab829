"""What may be asked of a ticket."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from domain.event import Command
from domain.ticket.automata import TicketState
from domain.ticket.words import Awaited, Ids, Limit, Precedence, Scope, Told
from domain.workflow import Id, Line, Rank, Requirements, Subject, TaskSpec, Text

Token = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""The version of the claim event: what a worker shows to prove that the attempt is its own."""

Instant = Annotated[datetime, Meta(tz=True)]


class Open(Command, frozen=True):
    """Test this subject with this workflow.

    The ticket's id is the stream's and chosen by the client. A workflow that is too large for
    one record is opened with `sealed=False`, grows by AddTasks and is completed by Seal. Without
    a `deadline` the ticket ends after a week at the latest.

    Its tasks do not become ready until each ticket that it `waits_for` has passed, once and be it
    later than this one is opened. If one ends otherwise, so does this one: see `NoteEnd`.
    """

    topic = "turnstile.ticket.open"

    subject: Subject
    tasks: tuple[TaskSpec, ...] = ()
    labels: Annotated[dict[Line, Text], Meta(max_length=64)] = {}
    priority: Rank = 0
    not_before: Instant | None = None
    deadline: Instant | None = None
    supersedes: Precedence | None = None
    sealed: bool = True
    waits_for: Awaited = ()


class AddTasks(Command, frozen=True):
    """Let the ticket grow. They may need tasks that are there, and one another.

    A task that does it while it runs shows its own name and token.
    """

    topic = "turnstile.ticket.add_tasks"

    tasks: Annotated[tuple[TaskSpec, ...], Meta(min_length=1)]
    by_task: Id | None = None
    token: Token | None = None


class Seal(Command, frozen=True):
    """The workflow is complete."""

    topic = "turnstile.ticket.seal"


class Claim(Command, frozen=True):
    """A worker wants the task. The same `request` by the same worker gets the same attempt."""

    topic = "turnstile.ticket.claim"

    task: Id
    worker: Id
    request: Id
    capabilities: Requirements | None = None


class Start(Command, frozen=True):
    """The task's own code starts."""

    topic = "turnstile.ticket.start"

    task: Id
    token: Token


class LoseLease(Command, frozen=True):
    """The lease of the attempt has run out beside the log."""

    topic = "turnstile.ticket.lose_lease"

    task: Id
    token: Token
    reason: Text = "the lease ran out"


class Report(Told, Command, frozen=True, kw_only=True):
    """The attempt is over; this is how it ran and what the test said."""

    topic = "turnstile.ticket.report"

    task: Id
    token: Token


class ReturnClaim(Command, frozen=True):
    """The worker hands the task back."""

    topic = "turnstile.ticket.return_claim"

    task: Id
    token: Token
    reason: Text = ""


class Revoke(Command, frozen=True):
    """Take the task from its worker."""

    topic = "turnstile.ticket.revoke"

    task: Id
    token: Token
    reason: Text = ""


class Cancel(Command, frozen=True):
    """End these tasks; without any named, the whole ticket."""

    topic = "turnstile.ticket.cancel"

    tasks: Ids = ()
    reason: Text = ""


class Rerun(Command, frozen=True):
    """Run again the whole ticket, only what failed, or the tasks named.

    What needs a task that runs again runs again too. Gates of the workflow close again, except
    before the tasks that are named.
    """

    topic = "turnstile.ticket.rerun"

    scope: Scope = Scope.TICKET
    tasks: Ids = ()
    reason: Text = ""


class Hold(Command, frozen=True):
    """Close a gate before these tasks; without any named, before all that wait."""

    topic = "turnstile.ticket.hold"

    tasks: Ids = ()
    reason: Text = ""


class Unhold(Command, frozen=True):
    """Open the gate before these tasks; without any named, before all that are held."""

    topic = "turnstile.ticket.unhold"

    tasks: Ids = ()
    reason: Text = ""


class ChangePriority(Command, frozen=True):
    """Move the ticket in the queue: higher is sooner."""

    topic = "turnstile.ticket.change_priority"

    priority: Rank
    reason: Text = ""


class Supersede(Command, frozen=True):
    """A newer ticket takes the place of this one."""

    topic = "turnstile.ticket.supersede"

    by: Id


class NoteEnd(Command, frozen=True):
    """A ticket has ended that this one may be waiting for.

    If it passed, that much less is waited for. If not, this one is cancelled, with a reason that
    names the other: no test of its own has failed, and it can be run again, as the other can. Then
    it waits anew for whatever has not passed once.
    """

    topic = "turnstile.ticket.note_end"

    ticket: Id
    state: TicketState


class Expire(Command, frozen=True):
    """The ticket's deadline has passed."""

    topic = "turnstile.ticket.expire"

    reason: Text = "the deadline has passed"


class TimeOut(Command, frozen=True):
    """A stage of the task has lasted longer than it may. Start and run name the attempt."""

    topic = "turnstile.ticket.time_out"

    task: Id
    limit: Limit
    token: Token | None = None


COMMANDS: Final[tuple[type[Command], ...]] = (
    Open,
    AddTasks,
    Seal,
    Claim,
    Start,
    LoseLease,
    Report,
    ReturnClaim,
    Revoke,
    Cancel,
    Rerun,
    Hold,
    Unhold,
    ChangePriority,
    Supersede,
    NoteEnd,
    Expire,
    TimeOut,
)
