"""Both automata of a ticket, as tables. Nothing else says what may follow what.

Guards (who holds the lease, how many attempts are left) are in `decide`: they choose *which*
event happens. Where an event leads is said here and only here.
"""

from enum import StrEnum
from typing import Final

from domain.automaton import SAME, Automaton, Edge
from domain.ticket import events as e


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


T, K = TaskState, TicketState

WAITING: Final = (T.BLOCKED, T.HELD, T.READY)
AT_WORK: Final = (T.CLAIMED, T.RUNNING)
TASK_ENDED: Final = (T.PASSED, T.FAILED, T.ERRORED, T.TIMED_OUT, T.SKIPPED, T.CANCELLED)

OPEN: Final = (K.QUEUED, K.RUNNING)
RERUNNABLE: Final = (K.PASSED, K.FAILED, K.ERRORED, K.CANCELLED, K.EXPIRED)
TICKET_ENDED: Final = (*RERUNNABLE, K.SUPERSEDED)
EXISTING: Final = (*OPEN, *RERUNNABLE, K.SUPERSEDED)

TASK: Final = Automaton(
    TaskState,
    T.ABSENT,
    (
        Edge(e.TicketOpened, (T.ABSENT,), T.BLOCKED),
        Edge(e.TasksAdded, (T.ABSENT,), T.BLOCKED),
        Edge(e.TasksReady, (T.BLOCKED,), T.READY),
        Edge(e.TasksHeld, (T.BLOCKED, T.READY), T.HELD),
        Edge(e.TasksUnheld, (T.HELD,), T.BLOCKED),
        Edge(e.TaskClaimed, (T.READY,), T.CLAIMED),
        Edge(e.TaskStarted, (T.CLAIMED,), T.RUNNING),
        Edge(e.LeaseLost, AT_WORK, T.READY),
        Edge(e.ClaimReturned, AT_WORK, T.READY),
        Edge(e.ClaimRevoked, AT_WORK, T.READY),
        Edge(e.TaskRetried, AT_WORK, T.READY),
        Edge(e.TaskPassed, (T.RUNNING,), T.PASSED),
        Edge(e.TaskFailed, (T.RUNNING,), T.FAILED),
        Edge(e.TaskTimedOut, (T.RUNNING,), T.TIMED_OUT),
        Edge(e.TaskErrored, (T.READY, *AT_WORK), T.ERRORED),
        Edge(e.TaskSkipped, (T.RUNNING,), T.SKIPPED),
        Edge(e.TasksSkipped, (T.BLOCKED, T.HELD), T.SKIPPED),
        Edge(e.TasksCancelled, (*WAITING, *AT_WORK), T.CANCELLED),
        Edge(e.TasksReset, (*TASK_ENDED, T.READY), T.BLOCKED),
    ),
    final=frozenset(),
)

TICKET: Final = Automaton(
    TicketState,
    K.ABSENT,
    (
        Edge(e.TicketOpened, (K.ABSENT,), K.QUEUED),
        Edge(e.TasksAdded, OPEN, SAME),
        Edge(e.TicketSealed, OPEN, SAME),
        Edge(e.PriorityChanged, OPEN, SAME),
        Edge(e.AwaitedPassed, OPEN, SAME),
        Edge(e.ReportRefused, EXISTING, SAME),
        Edge(e.TaskStarted, OPEN, K.RUNNING),
        Edge(e.TasksReset, (K.QUEUED,), K.QUEUED),
        Edge(e.TasksReset, (K.RUNNING, *RERUNNABLE), K.RUNNING),
        Edge(e.TicketPassed, OPEN, K.PASSED),
        Edge(e.TicketFailed, (K.RUNNING,), K.FAILED),
        Edge(e.TicketErrored, OPEN, K.ERRORED),
        Edge(e.TicketCancelled, OPEN, K.CANCELLED),
        Edge(e.TicketSuperseded, OPEN, K.SUPERSEDED),
        Edge(e.TicketExpired, OPEN, K.EXPIRED),
    ),
    final=frozenset({K.SUPERSEDED}),
)
