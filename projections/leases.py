"""Leases as the log has them: the attempts that are under way, and the workers that are there.

That a lease is kept alive is no event, so this fold only says which rows there are to be.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from domain.envelope import Recorded
from domain.event import Event
from domain.ticket import events as e
from domain.worker import events as w
from projections.tickets import KIND

WORKER: Final = "worker/"

ENDS: Final[frozenset[type[Event]]] = frozenset(
    {
        e.LeaseLost,
        e.ClaimReturned,
        e.ClaimRevoked,
        e.TaskRetried,
        e.TaskPassed,
        e.TaskFailed,
        e.TaskTimedOut,
        e.TaskSkipped,
        e.TaskErrored,
    }
)
"""What ends an attempt and names its token."""

_CONCERNS: Final = ENDS | {e.TaskClaimed, e.TasksCancelled, w.WorkerRegistered, w.WorkerGone}


class Claimed(Struct, frozen=True):
    """An attempt that has begun; `length` is its lease's, in seconds."""

    ticket: str
    token: int
    task: str
    worker: str
    request: str
    length: float


class Changes(Struct):
    """What some events have changed: first attempts that are over, then those that are not.

    `ended` are (ticket, token); `cancelled` are (ticket, task, version): the attempts of the task
    that were claimed before this version. A task has one attempt at a time, so `claimed` is by
    (ticket, task). `gone` are the (worker, session) that are over; `registered` has the session of
    each worker that has registered since.
    """

    ended: set[tuple[str, int]]
    cancelled: dict[tuple[str, str], int]
    claimed: dict[tuple[str, str], Claimed]
    gone: set[tuple[str, str]]
    registered: dict[str, str]

    def __bool__(self) -> bool:
        """Whether anything has."""
        return any(getattr(self, field) for field in self.__struct_fields__)


def changes(events: Iterable[Recorded]) -> Changes:
    """What these have changed. Most concern no lease; attempts that are over already leave none."""
    changed = Changes(set(), {}, {}, set(), {})
    for recorded in events:
        event = recorded.event
        if type(event) in _CONCERNS:
            _fold(changed, recorded, event)
    return changed


def _fold(changed: Changes, recorded: Recorded, event: Event) -> None:
    ticket, version = recorded.originator_id.removeprefix(KIND), recorded.originator_version
    match event:
        case e.TaskClaimed(task=task, worker=worker, request=request, lease=length):
            claim = Claimed(ticket, version, task, worker, request, length)
            changed.claimed[ticket, task] = claim
        case e.TasksCancelled(tasks=tasks):
            for task in tasks:
                changed.cancelled[ticket, task] = version
                changed.claimed.pop((ticket, task), None)
        case w.WorkerRegistered(session=session):
            changed.registered[recorded.originator_id.removeprefix(WORKER)] = session
        case w.WorkerGone(session=session):
            worker = recorded.originator_id.removeprefix(WORKER)
            changed.registered.pop(worker, None)
            changed.gone.add((worker, session))
        case _:
            task, token = getattr(event, "task", ""), getattr(event, "token", None)
            if token is not None:  # also of one in these events: its row may be there already
                changed.claimed.pop((ticket, task), None)
                changed.ended.add((ticket, token))
