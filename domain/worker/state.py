"""What a worker is, folded from its events: `evolve`. Every change of state is an edge's."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from domain.envelope import Recorded
from domain.event import Event
from domain.worker import events as e
from domain.worker.automata import ONLINE, WORKER, WorkerState

REMEMBERED: Final = 100
"""Sessions that are known to be superseded, the latest ones: an older process has long ended."""

_online: Final = frozenset(ONLINE)


class Worker(Struct, gc=False):
    """The aggregate. `superseded` are the sessions before this one since the name was taken.

    `reason` is why it drains, is available again, or gone.
    """

    state: WorkerState = WorkerState.ABSENT
    session: str = ""
    home: str = ""
    capabilities: dict[str, tuple[str, ...]] = {}
    slots: int = 0
    superseded: list[str] = []
    reason: str = ""

    @property
    def exists(self) -> bool:
        """Whether anybody ever registered under the name."""
        return self.state is not WorkerState.ABSENT

    @property
    def is_online(self) -> bool:
        """Whether somebody works under the name."""
        return self.state in _online

    def is_at_work(self, session: str) -> bool:
        """Whether it is this session that works under the name."""
        return self.is_online and self.session == session


def is_gone(worker: Worker) -> bool:
    """Whether nobody works under the name any more; somebody may again."""
    return worker.state is WorkerState.GONE


def evolve(worker: Worker, recorded: Recorded) -> None:
    """Change the worker by one event."""
    event = recorded.event
    kind = type(event)
    worker.state = WORKER.successor(worker.state, kind)
    _EVOLVE[kind](worker, event)


def _registered(worker: Worker, event: e.WorkerRegistered) -> None:
    if worker.session not in ("", event.session):
        worker.superseded = [*worker.superseded, worker.session][-REMEMBERED:]
    worker.session = event.session
    worker.home = event.home
    worker.capabilities = event.capabilities
    worker.slots = event.slots
    if worker.state is WorkerState.AVAILABLE:
        worker.reason = ""


def _moved(worker: Worker, event: Any) -> None:
    worker.reason = event.reason


def _gone(worker: Worker, event: e.WorkerGone) -> None:
    worker.reason = event.reason
    worker.session = ""
    worker.superseded = []


_EVOLVE: Final[dict[type[Event], Callable[[Worker, Any], None]]] = {
    e.WorkerRegistered: _registered,
    e.WorkerDraining: _moved,
    e.WorkerResumed: _moved,
    e.WorkerGone: _gone,
}
