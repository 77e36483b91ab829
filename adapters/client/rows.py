"""What is read. Instants are UTC, durations seconds; what a newer server adds is passed over."""

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from .errors import Problem

R = TypeVar("R")


class Ticket(Struct, frozen=True):
    """A ticket as it is, or as it was at the version that was asked for.

    `reason` says why it ended. Of its `tasks`, so many are `waiting` (blocked, held, ready),
    `working` (claimed, running), and have `passed`, `failed` (or ran too long), `errored` and were
    `dropped` (skipped, cancelled); none is ready before the tickets that it still `waits_for` have
    passed. `version` and `sequence` are those of its last event. A ticket
    with a `problem` could not be folded on.
    """

    ticket: str
    partition: int
    kind: str
    project: str
    name: str
    revision: str
    url: str | None
    labels: dict[str, str]
    supersedes: str | None
    supersedes_order: int | None
    not_before: datetime | None
    opened_at: datetime
    opened_by: str
    state: str
    priority: int
    sealed: bool
    deadline: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    superseded_by: str | None = None
    tasks: int = 0
    waiting: int = 0
    working: int = 0
    passed: int = 0
    failed: int = 0
    errored: int = 0
    dropped: int = 0
    version: int = 0
    sequence: int = 0
    changed_at: datetime | None = None
    problem: str | None = None
    waits_for: list[str] = []

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; a rerun may begin it anew."""
        return self.ended_at is not None


class Task(Struct, frozen=True):
    """A task as it is. `n` is its place in the workflow, `spec` what was asked for.

    It waits since `ready_at` under `rank` in the queue of its `class_`. `created` is the word of
    the event for which it waits, `because` the task that it needed in vain. `token` and `worker`
    are those of its last attempt, and `attempts` says how many there were. At `due` the stage that
    it is in will have lasted too long.
    """

    ticket: str
    task: str
    n: int
    project: str
    class_: str = msgspec.field(name="class")
    required: bool
    spec: Any
    state: str
    since: datetime
    created: str
    ready_at: datetime | None = None
    rank: float | None = None
    attempts: int = 0
    token: int | None = None
    worker: str | None = None
    execution: str | None = None
    outcome: str | None = None
    reason: str = ""
    because: str | None = None
    due: datetime | None = None


class Attempt(Struct, frozen=True):
    """One execution of a task. `created` and `ended` are the words of the events at fault."""

    ticket: str
    token: int
    task: str
    number: int
    worker: str
    request: str
    lease: float
    created: str
    claimed_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ended: str | None = None
    execution: str | None = None
    outcome: str | None = None
    reason: str = ""
    log: str | None = None
    artifacts: Any = ()
    refused: bool = False


class Result(Struct, frozen=True):
    """What one test case said in an attempt, the *n*-th."""

    ticket: str
    token: int
    n: int
    task: str
    project: str
    testcase: str
    outcome: str
    summary: str
    duration: float | None
    log: str | None
    at: datetime


class Worker(Struct, frozen=True):
    """A worker as it is now, or as it was when its `session` ended.

    It is in its state `since` then, for the `reason`. Its present session registered at
    `registered_at`, and takes tasks for which it has the `capabilities`, as many at once as it has
    `slots`. `version` and `sequence` are those of its last event. A worker with a `problem` could
    not be folded on.
    """

    worker: str
    partition: int
    state: str
    session: str
    home: str
    capabilities: dict[str, tuple[str, ...]]
    slots: int
    registered_at: datetime
    since: datetime
    reason: str = ""
    version: int = 0
    sequence: int = 0
    problem: str | None = None


class Busy(Struct, frozen=True):
    """A worker, and the attempts that it has under way, the oldest claim first."""

    worker: Worker
    attempts: tuple[Attempt, ...]


class Steered(Struct, frozen=True):
    """What was asked of a worker is done, by the event of this version.

    Whoever asks for workers `after` it sees its effect.
    """

    worker: str
    version: int
    partition: int
    sequence: int
    after: str


class Event(Struct, frozen=True):
    """An event, told for people; `seconds` is the time since the one before."""

    version: int
    type: str
    time: datetime
    actor: str
    what: str
    details: tuple[str, ...]
    seconds: float | None
    id: str
    command: str
    sequence: int
    data: Any


class Change(Struct, frozen=True):
    """An event of a ticket as the live stream tells it.

    Whoever asks a view for what is `after` it sees its effect.
    """

    ticket: str
    type: str
    version: int
    time: datetime
    actor: str
    id: str
    command: str
    partition: int
    sequence: int
    project: str | None = None
    what: str = ""
    details: tuple[str, ...] = ()
    data: Any = None

    @property
    def after(self) -> str:
        """Where a view must have come to, to show it."""
        return f"{self.partition}:{self.sequence}"


class Accepted(Struct, frozen=True):
    """What was asked is done, by the event of this version (an opening: 1).

    Whoever asks a view for what is `after` it sees its effect.
    """

    ticket: str
    version: int
    partition: int
    sequence: int
    after: str


class Rejected(Struct, frozen=True):
    """One of many tickets was refused."""

    ticket: str
    problem: Problem


class Token(Struct, frozen=True):
    """A token, as those who keep them see it. `token` is the secret, told when it is made."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str = ""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Token(id={self.id!r}, name={self.name!r}, scopes={self.scopes!r})"


class Settlement(Struct, frozen=True):
    """What became of a dead letter (`injected`, `dropped`), by whom, and why if that was said."""

    how: str
    by: str
    at: datetime
    why: str | None = None


class DeadLetter(Struct, frozen=True):
    """What was put aside `at` a time, and as much of it as could be read.

    A command lay in the inbox of a `partition`, at a `position`. A request lay in a `topic` of
    foreign producers, and its position is the offset there; its actor is the one that it names.
    """

    id: str
    at: datetime
    kind: str
    topic: str | None
    partition: int
    position: int | None
    stream: str | None
    type: str | None
    command: str | None
    actor: str | None
    reason: str
    size: int
    settled: Settlement | None = None


class Content(Struct, frozen=True):
    """What a letter holds: `text` where it is text, else `base64`; only a beginning if `cut`."""

    text: str | None = None
    base64: str | None = None
    cut: bool = False


class Header(Struct, frozen=True):
    """A header that a request came with."""

    name: str
    value: str


class OpenedLetter(Struct, frozen=True):
    """A dead letter with what it holds."""

    letter: DeadLetter
    content: Content
    headers: tuple[Header, ...] = ()


class Page(Struct, Generic[R], frozen=True):
    """Some rows, and the cursor behind the last of them if there are more."""

    rows: tuple[R, ...] = ()
    next: str | None = None
