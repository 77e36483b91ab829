"""Stored events of the library as records of the log, and back to the same bytes.

What our Mapper made, or an engine wrote, is the record that it is, with its place in the partition.
What any other application stores is a CloudEvent of another source, and its state travels as
`data_base64`. A mark of tracking has the name of the application for its key.
"""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID, uuid4

import msgspec
from eventsourcing.persistence import DataError, ProgrammingError, StoredEvent, Tracking
from msgspec import Meta, Struct

from adapters import cloudevents
from adapters.cloudevents import SOURCE, CloudEvent
from adapters.codec import RECORD_LIMIT, CodecError

OTHERS: Final = "eventsourcing"
"""The source of what other applications store."""

HIGHEST: Final = 2**63 - 1
"""Of sequences and versions."""


class OthersEvent(Struct):
    """The envelope of an event whose state is its application's affair."""

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    version: int
    sequence: int
    data_base64: bytes


class Place(Struct):
    """Of a record's envelope, what an index needs."""

    source: str
    subject: str
    type: str
    version: Annotated[int, Meta(ge=-HIGHEST, le=HIGHEST)]
    sequence: Annotated[int, Meta(ge=0, le=HIGHEST)] = 0


class Draft(Struct):
    """A stored event on its way: its record but for the sequence."""

    stream: str
    version: int
    key: bytes
    envelope: CloudEvent | OthersEvent

    def record(self, sequence: int) -> bytes:
        """The record at its place."""
        self.envelope.sequence = sequence
        return _encode(self.envelope)


_encode: Final = msgspec.json.Encoder().encode
_place: Final = msgspec.json.Decoder(Place).decode
_others: Final = msgspec.json.Decoder(OthersEvent).decode
_mark: Final = msgspec.json.Decoder(Tracking).decode
_UNFIT: Final = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)


def drafted(event: StoredEvent, now: datetime) -> Draft:
    """The event as it will be written; *now* is for what says no time of its own.

    Raises DataError for what is larger than a record may be or would come back different, and
    ProgrammingError for a stream whose id is no text.
    """
    stream, version, topic = event.originator_id, event.originator_version, event.topic
    if not isinstance(stream, str):
        raise ProgrammingError(f"the ids of streams are text, {stream!r} is none")
    name = f"{stream} version {version}"
    try:
        envelope = _envelope(event, stream, now)
        draft = Draft(stream, version, stream.encode(), envelope)
        record = draft.record(HIGHEST)
        same = stored(record) == event
    except (*_UNFIT, CodecError) as error:
        raise DataError(f"{name}, {topic!r}: it cannot be stored, {error}") from error
    if not same:
        raise DataError(f"{name}: it is a record of ours, but not as our Mapper writes it")
    if len(record) > RECORD_LIMIT:
        raise DataError(
            f"{name}: {len(record)} bytes are more than the {RECORD_LIMIT} that one record may have"
        )
    return draft


def _envelope(event: StoredEvent, stream: str, now: datetime) -> CloudEvent | OthersEvent:
    try:
        return cloudevents.parse(event.state)
    except CodecError:
        return OthersEvent(
            specversion="1.0",
            id=uuid4(),
            source=OTHERS,
            type=event.topic,
            subject=stream,
            time=now,
            version=event.originator_version,
            sequence=0,
            data_base64=event.state,
        )


def place(record: bytes) -> Place:
    """Where an event belongs. Raises CodecError."""
    try:
        return _place(record)
    except _UNFIT as error:
        raise CodecError(f"no event's record: {error}") from error


def stored(record: bytes) -> StoredEvent:
    """The event of a record. Raises CodecError."""
    if place(record).source == SOURCE:
        envelope = cloudevents.parse(record)
        envelope.sequence = envelope.upto = 0
        state = _encode(envelope)
        return StoredEvent(envelope.subject, envelope.version, envelope.type, state)
    try:
        others = _others(record)
    except _UNFIT as error:
        raise CodecError(f"no record of the library's: {error}") from error
    return StoredEvent(others.subject, others.version, others.type, others.data_base64)


def mark(tracking: Tracking) -> tuple[bytes, bytes]:
    """Key and value of a mark. Raises DataError."""
    try:
        return tracking.application_name.encode(), _encode(tracking)
    except _UNFIT as error:
        raise DataError(f"{tracking}: it cannot be stored, {error}") from error


def read_mark(record: bytes) -> Tracking:
    """The mark in a record. Raises CodecError."""
    try:
        return _mark(record)
    except _UNFIT as error:
        raise CodecError(f"no mark: {error}") from error
