"""What every event, command and value is, whatever stream it belongs to."""

from typing import ClassVar

from msgspec import Struct


class Value(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """Something that is what it says: two of the same content are the same."""


class Event(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A fact, in the past tense, stored for ever.

    `topic` is the stored name, never derived from a module path. `class_version` is the version
    of the stored form: a class that raises it has a static `upcast_v1_v2(state)` for each step,
    which changes the older form (a dict of what was stored) in place.
    """

    topic: ClassVar[str]
    class_version: ClassVar[int] = 1
    accepts: ClassVar[bool] = True
    """Whether the command that caused this event counts as accepted (its id is remembered)."""


class CommandNoted(Event, frozen=True):
    """A command was accepted and changed nothing; from now on its id is known.

    `version` is that of the event that had done what was asked, where the answer needs it.
    """

    topic = "turnstile.command_noted"

    version: int = 0


class Command(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A request, in the imperative. It may be refused.

    `schema` is the version of its form; an engine puts newer ones aside as dead letters.
    """

    topic: ClassVar[str]
    schema: ClassVar[int] = 1
