"""How a command is refused. A class's docstring is its message.

Refused
├── Invalid               the request itself is wrong; names the field and the reason
│   └── TooLarge
├── Missing
│   ├── UnknownTicket
│   ├── UnknownTask
│   └── UnknownWorker
└── Conflict              the request is right, the state is not (any more)
    ├── DifferentBody     the same id was used before, for something else
    ├── StaleToken        the attempt is not the present one
    ├── NotReady          the task cannot be claimed now
    ├── NotCapable
    ├── Ended             the ticket has ended
    ├── NotDue            what should have run out has not
    ├── NotAllowedNow     the task's state does not permit it
    ├── NameTaken         another machine works under the worker's name
    ├── SupersededSession a newer process has taken the worker over
    ├── NotRegistered     who asks as this worker is to register first
    ├── WorkerIsGone
    ├── TooLate           nobody waits for the answer any more
    └── Quarantined
"""

import re
from typing import ClassVar, cast

from domain.event import Event


class Refused(Exception):
    """The command was refused."""

    type: ClassVar[str] = "refused"

    def __init_subclass__(cls) -> None:
        cls.type = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, *, leaves: tuple[Event, ...] = (), **facts: object) -> None:
        """Fill the *facts* into the docstring; *leaves* are events recorded all the same."""
        super().__init__(" ".join(cast("str", self.__doc__).format(**facts).split()))
        self.leaves = leaves
        self.field = cast("str | None", facts.get("field"))


class Invalid(Refused):
    """{field}: {reason}."""


class TooLarge(Invalid):
    """{field}: {size} bytes are more than the {limit} that one record may have."""


class Missing(Refused):
    """What the command is about does not exist."""


class UnknownTicket(Missing):
    """There is no ticket {ticket!r}."""


class UnknownTask(Missing):
    """{field}: the ticket has no task {task!r}."""


class UnknownWorker(Missing):
    """There is no worker {worker!r}."""


class Conflict(Refused):
    """The state does not permit the command."""


class DifferentBody(Conflict):
    """{field}: {what} exists already with another body."""


class StaleToken(Conflict):
    """Token {token} is not that of the present attempt of task {task!r}."""


class NotReady(Conflict):
    """Task {task!r} cannot be claimed: {reason}."""


class NotCapable(Conflict):
    """Worker {worker!r} lacks what task {task!r} requires of {dimension!r}: {lacking}."""


class Ended(Conflict):
    """The ticket has ended as {state}: {reason}."""


class NotDue(Conflict):
    """{what} runs out at {due}, and it is only {now}."""


class NotAllowedNow(Conflict):
    """Task {task!r} is {state}: {reason}."""


class NameTaken(Conflict):
    """{field}: another machine works as {worker!r}. Take another name, or wait until it is gone."""


class SupersededSession(Conflict):
    """{field}: a newer process than {session!r} works as {worker!r}, and this one is to end."""


class NotRegistered(Conflict):
    """{field}: worker {worker!r} is to register before it asks for anything: {reason}."""


class WorkerIsGone(Conflict):
    """Worker {worker!r} is gone ({reason}); it can be steered when it is back."""


class TooLate(Conflict):
    """The asker waited {patience:g} s for an answer; the command was decided after {age:.3f} s."""


class Quarantined(Conflict):
    """Stream {stream!r} is in quarantine: {reason}. Its commands are kept as dead letters."""
