"""The record: a CloudEvents 1.0 envelope in structured mode, the same in every log and language.

`sequence` and `upto` are the partition's and 0 where an event has no place in a log yet. What the
codec compressed or encrypted travels as `data_base64`, plain JSON as `data`. An attribute that
has its default is left out.
"""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from adapters.codec import Codec, CodecError
from domain.envelope import Recorded, Stored

SOURCE: Final = "turnstile"


class CloudEvent(Struct, omit_defaults=True):
    """The envelope's attributes, in the order in which they are written."""

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    time: Annotated[datetime, Meta(tz=True)]
    version: int
    causationid: UUID
    actor: str
    schemaversion: int = 1
    sequence: int = 0
    upto: int = 0
    traceparent: str | None = None
    data: Raw | UnsetType = UNSET
    data_base64: bytes = b""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(CloudEvent).decode


def write(recorded: Recorded, data: bytes, *, plain: bool) -> bytes:
    """The record of an event whose encoded *data* is JSON if *plain*."""
    envelope = CloudEvent(
        specversion="1.0",
        id=recorded.id,
        source=SOURCE,
        type=recorded.event.topic,
        subject=recorded.originator_id,
        time=recorded.time.astimezone(UTC),  # one instant is one text
        version=recorded.originator_version,
        causationid=recorded.causationid,
        actor=recorded.actor,
        schemaversion=recorded.event.class_version,
        sequence=recorded.sequence,
        upto=recorded.upto,
        traceparent=recorded.traceparent,
    )
    return compose(envelope, data, plain=plain)


def compose(envelope: CloudEvent, data: bytes, *, plain: bool) -> bytes:
    """The record of an envelope, with *data* put in undecoded."""
    if plain:
        envelope.data = Raw(data)
    else:
        envelope.data_base64 = data
    return _encode(envelope)


def parse(record: bytes) -> CloudEvent:
    """The envelope of a record. Raises CodecError if it is none of ours."""
    try:
        envelope = _decode(record)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CodecError(f"no CloudEvent of ours: {error}") from error
    if (envelope.specversion, envelope.source) != ("1.0", SOURCE):
        raise CodecError(f"no CloudEvent of ours: its source is {envelope.source!r}")
    return envelope


def data_of(envelope: CloudEvent) -> bytes:
    """The event's data as the codec encoded it."""
    return envelope.data_base64 if envelope.data is UNSET else bytes(envelope.data)


def stored(envelope: CloudEvent, codec: Codec) -> Stored:
    """The event in an envelope, with its data. Raises CodecError and FutureEvent."""
    data = data_of(envelope)
    return Stored(
        id=envelope.id,
        originator_id=envelope.subject,
        originator_version=envelope.version,
        event=codec.decode_event(envelope.type, envelope.schemaversion, data),
        time=envelope.time,
        actor=envelope.actor,
        causationid=envelope.causationid,
        sequence=envelope.sequence,
        upto=envelope.upto,
        traceparent=envelope.traceparent,
        form=envelope.schemaversion,
        data=data,
    )


def read(envelope: CloudEvent, codec: Codec) -> Recorded:
    """The event in an envelope. Raises CodecError and FutureEvent as the codec does."""
    return Recorded(
        id=envelope.id,
        originator_id=envelope.subject,
        originator_version=envelope.version,
        event=codec.decode_event(envelope.type, envelope.schemaversion, data_of(envelope)),
        time=envelope.time,
        actor=envelope.actor,
        causationid=envelope.causationid,
        sequence=envelope.sequence,
        upto=envelope.upto,
        traceparent=envelope.traceparent,
    )
