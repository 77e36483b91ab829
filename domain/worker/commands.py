"""What may be asked of a worker, or told of it."""

from typing import Annotated, Final

from msgspec import Meta

from domain.event import Command
from domain.workflow import Id, Requirements, Text

Slots = Annotated[int, Meta(ge=1, le=1_000)]
"""Attempts that a worker runs at once, at most."""


class Register(Command, frozen=True):
    """A runner wants to work under this name, which is the stream's.

    The same `home` with a new `session` takes over from the session before. Another home gets the
    name only when the worker is gone.
    """

    topic = "turnstile.worker.register"

    session: Id
    home: Id
    capabilities: Requirements = {}
    slots: Slots = 1


class Drain(Command, frozen=True):
    """Let it finish what it has, and claim nothing more."""

    topic = "turnstile.worker.drain"

    reason: Text = ""


class Resume(Command, frozen=True):
    """Let it claim again."""

    topic = "turnstile.worker.resume"

    reason: Text = ""


class Leave(Command, frozen=True):
    """The runner ends by itself. Of a session that is over already it changes nothing."""

    topic = "turnstile.worker.leave"

    session: Id
    reason: Text = "it left"


class Miss(Command, frozen=True):
    """The session was not heard of for too long."""

    topic = "turnstile.worker.miss"

    session: Id
    reason: Text = "it was not heard of"


COMMANDS: Final[tuple[type[Command], ...]] = (Register, Drain, Resume, Leave, Miss)
