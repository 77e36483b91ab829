"""The rows of the views of tickets: their columns, in the order in which the tables have them.

A row belongs to one ticket and depends on nothing but that ticket's events. Instants are UTC,
durations seconds.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from domain.ticket.automata import TaskState, TicketState


class Ticket(Struct):
    """A ticket as it is now.

    `reason` says why it ended, `ended` tells when. Of its `tasks`, so many are `waiting` (blocked,
    held, ready), `working` (claimed, running), and have `passed`, `failed` (or ran too long),
    `errored` and were `dropped` (skipped, cancelled). None of them is ready before the tickets that
    it still `waits_for` have passed. `version` and `sequence` are those of its
    last event, `changed_at` is when that was. A ticket with a `problem` could not be folded on.
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
    state: TicketState
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


class Task(Struct):
    """A task as it is now. `n` is its place in the workflow, `spec` what was asked for.

    It waits since `ready_at` under `rank` in the queue of its `class_`; one that lost its worker
    keeps its place. At `due` the stage that it is in will have lasted too long. `created` is the
    word of the event for which it waits, `because` the task that it needed in vain. `token` and
    `worker` are those of its last attempt, and `attempts` says how many there were.
    """

    ticket: str
    task: str
    n: int
    project: str
    class_: str = msgspec.field(name="class")
    required: bool
    spec: Any
    state: TaskState
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


class Attempt(Struct):
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


class Result(Struct):
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
