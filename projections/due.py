"""When a stage of a task will have lasted too long. It only advises: the ticket looks again."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from domain.ticket.automata import TaskState
from domain.ticket.words import Limit
from domain.workflow import TaskSpec, Timeouts

LIMITS: Final = {
    TaskState.READY: Limit.QUEUE,
    TaskState.CLAIMED: Limit.START,
    TaskState.RUNNING: Limit.RUN,
}
"""The states that may last only so long, and which limit that is."""


class _Timed(Struct):
    """What is read of a task's spec."""

    timeouts: Timeouts = Timeouts()


_timed: Final = msgspec.json.Decoder(_Timed).decode


def due(
    state: TaskState, since: datetime, spec: Any, not_before: datetime | None
) -> datetime | None:
    """When the limit runs out of a task that is in the state *since* then; None without one.

    *spec* is the task's, as it was asked for or as a row has it.
    """
    limit = LIMITS.get(state)
    if limit is None:
        return None
    if limit is Limit.QUEUE and not_before is not None:
        since = max(since, not_before)
    return since + timedelta(seconds=getattr(_timeouts(spec), limit))


def _timeouts(spec: TaskSpec | Raw) -> Timeouts:
    return _timed(spec).timeouts if isinstance(spec, Raw) else spec.timeouts
