"""What surrounds a command and an event on their way: who, when, where, and because of what."""

import re
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from domain.errors import Invalid
from domain.event import Command, Event

StreamId = Annotated[str, Meta(pattern=r"\A[a-z][a-z_]{0,31}/[A-Za-z0-9._:-]{1,128}\Z")]
"""`kind/id`, as `ticket/9`."""

Actor = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
"""Who asks: a person, worker, rule or webhook."""

Name = Annotated[str, Meta(max_length=256, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]


class Submitted(Struct, frozen=True, gc=False):
    """A command on its way to the stream that decides it.

    `id` is chosen by the sender, and the same id again is the same command. `patience` is how
    many seconds the asker waits: decided later than that, the command is refused; without one it
    never expires. `reply_to` is the address of the asker, as its log gave it.
    """

    id: UUID
    stream: StreamId
    command: Command
    actor: Actor
    patience: float | None = None
    reply_to: Name | None = None
    traceparent: Name | None = None


class Recorded(Struct, frozen=True, gc=False):
    """An event with what makes it a fact; a domain event as `eventsourcing` understands it.

    `originator_version` counts the stream's events, `sequence` the partition's, both from 1 and
    without gaps. `causationid` is the id of the command. `upto` is the position in the inbox up
    to which the batch of this event has decided. A sequence of 0 is not given yet.
    """

    id: UUID
    originator_id: StreamId
    originator_version: int
    event: Event
    time: datetime
    actor: Actor
    causationid: UUID
    sequence: int = 0
    upto: int = 0
    traceparent: Name | None = None


class Stored(Recorded, frozen=True, gc=False):
    """The same as the log has it: its encoded `data`, in the `form` (class_version) of its time."""

    form: int = 1
    data: bytes = b""


class Refusal(Struct, frozen=True, gc=False, omit_defaults=True):
    """Why a command was refused: a stable type, a sentence, and the field if one is at fault."""

    type: str
    detail: str
    field: str | None = None


class Answer(Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of a command.

    `version` is that of the first event that it caused (for a claim: the fencing token), and
    the same however often the command is sent. Whoever reads a view that has passed `sequence`
    in `partition` sees its effect. Both are 0 where the command was refused.
    """

    command_id: UUID
    partition: int
    version: int = 0
    sequence: int = 0
    refusal: Refusal | None = None


_STREAM: Final = re.compile(r"[a-z][a-z_]{0,31}/[A-Za-z0-9._:-]{1,128}").fullmatch
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}").fullmatch


def is_stream_id(text: str) -> bool:
    """Whether a stream may be called so."""
    return _STREAM(text) is not None


def check(submitted: Submitted) -> None:
    """Refuse (Invalid) what surrounds a command if it has not the form that is said above."""
    if not _STREAM(submitted.stream):
        raise Invalid(field="stream", reason="an id is `kind/` and 1-128 of `A-Z a-z 0-9 . _ : -`")
    for field in ("actor", "reply_to", "traceparent"):
        value = getattr(submitted, field)
        if value is not None and not _NAME(value):
            raise Invalid(field=field, reason="1-256 characters, and none of them a control one")


def event_id(stream: str, command_id: UUID, n: int) -> UUID:
    """The id of the *n*-th event that the command causes in the stream: a uuid5 (RFC 9562)."""
    digest = bytearray(sha1(command_id.bytes + f"{stream}#{n}".encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


@lru_cache(maxsize=200_000)
def partition_of(stream: str, partitions: int) -> int:
    """Where the stream lives, for ever: murmur2 of its id, as Kafka's Java clients do it."""
    data = stream.encode()
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        h = h * _M & _MASK ^ ((k ^ k >> 24) * _M & _MASK)
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions
