"""The automaton of a worker, as a table. Nothing else says what may follow what."""

from enum import StrEnum
from typing import Final

from domain.automaton import SAME, Automaton, Edge
from domain.worker import events as e


class WorkerState(StrEnum):
    """Whether a worker is there, and may claim."""

    ABSENT = "absent"
    AVAILABLE = "available"
    DRAINING = "draining"
    GONE = "gone"


W = WorkerState

ONLINE: Final = (W.AVAILABLE, W.DRAINING)
"""Somebody works under the name."""

WORKER: Final = Automaton(
    WorkerState,
    W.ABSENT,
    (
        Edge(e.WorkerRegistered, (W.ABSENT, W.AVAILABLE, W.GONE), W.AVAILABLE),
        Edge(e.WorkerRegistered, (W.DRAINING,), SAME),
        Edge(e.WorkerDraining, (W.AVAILABLE,), W.DRAINING),
        Edge(e.WorkerResumed, (W.DRAINING,), W.AVAILABLE),
        Edge(e.WorkerGone, ONLINE, W.GONE),
    ),
    final=frozenset(),
)
