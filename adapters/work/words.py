"""What runners and the service say to one another: claims, heartbeats, reports.

A `request` and a `session` are ids that the runner chooses: a request is the same however often it
is sent, and a session is one life of the runner's process.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from domain.ticket.commands import Token
from domain.ticket.words import Told
from domain.worker.automata import WorkerState
from domain.workflow import Id, Line, Subject, TaskSpec, Text

LONGEST: Final = 30.0
"""Seconds for which a claim may wait."""


class ClaimRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Give me so many `tasks`, or as many as there are; if there is none, `wait` for one.

    They are `only` such as require something of each of these; with `worker`, as require this
    worker by its name. The same `request` again, however late, gets the same tasks.
    """

    session: Id
    request: Id
    tasks: Annotated[int, Meta(ge=1, le=100)] = 1
    wait: Annotated[float, Meta(ge=0, le=LONGEST)] = 0.0
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


class Claims(Struct, frozen=True):
    """What was claimed, nothing if nothing came in time; and how the service sees the worker."""

    tasks: tuple[Claimed, ...]
    state: WorkerState


class AttemptRef(Struct, frozen=True, forbid_unknown_fields=True):
    """An attempt, by its token."""

    ticket: Id
    token: Token


class Heartbeat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The runner is there, and works on these."""

    session: Id
    attempts: Annotated[tuple[AttemptRef, ...], Meta(max_length=1_000)] = ()


class LostAttempt(Struct, frozen=True):
    """The attempt is over, and whatever runs for it is to be ended."""

    ticket: str
    token: int
    reason: str


class HeldAttempt(Struct, frozen=True):
    """The worker has a lease of it."""

    ticket: str
    token: int
    task: str


class Beat(Struct, frozen=True):
    """How the service sees the worker: what it named and has lost, and all that it has."""

    state: WorkerState
    lost: tuple[LostAttempt, ...]
    held: tuple[HeldAttempt, ...]


class Started(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="started"
):
    """The task's own code starts."""

    ticket: Id
    task: Id
    token: Token


class Reported(Told, frozen=True, kw_only=True, tag_field="kind", tag="reported"):
    """The attempt is over; this is how it ran and what the test said."""

    ticket: Id
    task: Id
    token: Token


class Returned(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="returned"
):
    """The worker hands the task back."""

    ticket: Id
    task: Id
    token: Token
    reason: Text = ""


class Reports(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What has become of attempts. Whose they are the tokens say, and nothing else."""

    session: Id
    reports: Annotated[
        tuple[Started | Reported | Returned, ...], Meta(min_length=1, max_length=100)
    ]


class Returning(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the task is handed back."""

    reason: Text = ""
