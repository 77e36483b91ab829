"""A change as the stream tells it, and the message that carries it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from domain.envelope import Recorded
from domain.ticket.events import EVENTS
from projections.history import Row


class Change(Struct, frozen=True):
    """An event of a ticket, told for people; `data` are the event's own fields."""

    ticket: str
    project: str
    version: int
    type: str
    time: datetime
    actor: str
    what: str
    details: tuple[str, ...]
    id: str
    command: str
    partition: int
    sequence: int
    data: Any


class Message(Struct, frozen=True, gc=False):
    """A change, encoded once for all who want it, and the cursor behind it."""

    ticket: str
    project: str
    type: str
    sequence: int
    cursor: str
    data: bytes


TYPES: Final = frozenset({event.topic for event in EVENTS} | {"turnstile.command_noted"})
"""The types of events that a ticket can have."""

_encode: Final = msgspec.json.Encoder().encode


class Wanted(Struct, frozen=True):
    """Which changes a reader wants: those for which every condition holds that there is."""

    tickets: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether there is no condition."""
        return not (self.tickets or self.projects or self.types)

    def __contains__(self, message: Message) -> bool:
        return (
            (not self.tickets or message.ticket in self.tickets)
            and (not self.projects or message.project in self.projects)
            and (not self.types or message.type in self.types)
        )


def message(partition: int, recorded: Recorded, row: Row, project: str, cursor: str) -> Message:
    """The message of an event."""
    ticket = recorded.originator_id.partition("/")[2]
    type_ = recorded.event.topic
    change = Change(
        ticket=ticket,
        project=project,
        version=row.version,
        type=type_,
        time=row.time,
        actor=row.actor,
        what=row.what,
        details=row.details,
        id=str(row.id),
        command=str(row.command),
        partition=partition,
        sequence=row.sequence,
        data=recorded.event,
    )
    head = f"id: {cursor}\nevent: {type_}\ndata: ".encode()
    data = b"%b%b\n\n" % (head, _encode(change))
    return Message(ticket, project, type_, row.sequence, cursor, data)


def marker(cursor: str) -> bytes:
    """A message without a change, which moves the reader's cursor."""
    return f"id: {cursor}\n\n".encode()


def comment(text: str) -> bytes:
    """A line that no reader takes for anything."""
    return f": {text}\n\n".encode()


class Told(Struct, frozen=True):
    """Some events of a partition, in their order, as messages; not every event makes one.

    `last` is the sequence of the last event, `cursor` the one behind it.
    """

    partition: int
    messages: Sequence[Message]
    last: int
    cursor: str
    whole: bytes
    """All of the messages, for those who want everything."""
