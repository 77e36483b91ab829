"""What may have happened to a worker. Stored for ever: see `domain.event` before changing one."""

from typing import Final

from domain.event import Event
from domain.workflow import Id, Requirements, Text


class WorkerRegistered(Event, frozen=True):
    """A runner works under this name from now on.

    `home` is the random id that it keeps on its machine's disk, `session` one of the process.
    It runs so many attempts at once as it has `slots`.
    """

    topic = "turnstile.worker.registered"

    session: Id
    home: Id
    capabilities: Requirements = {}
    slots: int = 1


class WorkerDraining(Event, frozen=True):
    """It is to finish what it has and to claim nothing more."""

    topic = "turnstile.worker.draining"

    reason: Text = ""


class WorkerResumed(Event, frozen=True):
    """It may claim again."""

    topic = "turnstile.worker.resumed"

    reason: Text = ""


class WorkerGone(Event, frozen=True):
    """The session is over: it left, or was not heard of any more. The name is free."""

    topic = "turnstile.worker.gone"

    session: Id
    reason: Text = ""


EVENTS: Final[tuple[type[Event], ...]] = (
    WorkerRegistered,
    WorkerDraining,
    WorkerResumed,
    WorkerGone,
)
