"""What follows from a command to a worker.

Each function reads the worker and returns the events that record the outcome: none if nothing is
left to do. Refusals are raised (`domain.errors`). Nothing here reads a clock.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from domain.errors import NameTaken, SupersededSession, UnknownWorker, WorkerIsGone
from domain.event import Command, Event
from domain.worker import commands as c
from domain.worker import events as e
from domain.worker.automata import WORKER
from domain.worker.state import Worker, is_gone

Events = tuple[Event, ...]


def decide(worker: Worker, name: str, command: Command, now: datetime) -> Events:
    """The events that record the outcome of *command*; none if nothing is left to do.

    Raises:
        Refused: the command is wrong, or the worker's state does not permit it.
    """
    if isinstance(command, c.Register):
        return _register(worker, name, command)
    if not worker.exists:
        raise UnknownWorker(worker=name)
    return _DECIDE[type(command)](worker, name, command)


def _register(worker: Worker, name: str, command: c.Register) -> Events:
    """Take the name, or take it over from the session before.

    A process that was superseded and does not know it must not take the name back: both would
    work under it in turns.
    """
    if worker.is_online:
        if worker.home != command.home:
            raise NameTaken(field="worker", worker=name)
        if command.session in worker.superseded:
            raise SupersededSession(field="session", worker=name, session=command.session)
    registered = e.WorkerRegistered(
        session=command.session,
        home=command.home,
        capabilities=command.capabilities,
        slots=command.slots,
    )
    return () if worker.is_online and registered == _registration(worker) else (registered,)


def _registration(worker: Worker) -> e.WorkerRegistered:
    return e.WorkerRegistered(
        session=worker.session,
        home=worker.home,
        capabilities=worker.capabilities,
        slots=worker.slots,
    )


def _drain(worker: Worker, name: str, command: c.Drain) -> Events:
    return _steered(worker, name, e.WorkerDraining(reason=command.reason))


def _resume(worker: Worker, name: str, command: c.Resume) -> Events:
    return _steered(worker, name, e.WorkerResumed(reason=command.reason))


def _steered(worker: Worker, name: str, event: Event) -> Events:
    if is_gone(worker):
        raise WorkerIsGone(worker=name, reason=worker.reason)
    return (event,) if WORKER.permits(worker.state, type(event)) else ()


def _end(worker: Worker, name: str, command: c.Leave | c.Miss) -> Events:
    """The session ends, if it is the one at work: of another one, that is no news."""
    if not worker.is_at_work(command.session):
        return ()
    return (e.WorkerGone(session=command.session, reason=command.reason),)


_DECIDE: Final[dict[type[Command], Callable[[Worker, str, Any], Events]]] = {
    c.Drain: _drain,
    c.Resume: _resume,
    c.Leave: _end,
    c.Miss: _end,
}
