"""Commands, replies, the genesis and dead letters as Kafka's records.

All are CloudEvents in structured mode, as the events are (`adapters/cloudevents.py`); answers
travel as an array of many for one asker, and a dead letter is the record that it was, with headers.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from adapters import cloudevents
from adapters.cloudevents import SOURCE, CloudEvent
from adapters.codec import RECORD_LIMIT, Codec, CodecError, Undecodable
from adapters.kafka.kept import kept
from adapters.log import DeadLetter, Genesis, Received, Reply
from domain.envelope import Answer, Submitted

GENESIS: Final = "turnstile.genesis"
FORMAT: Final = 1
"""The form of the records; another one is refused."""

CONTENT_TYPE: Final = [("content-type", b"application/cloudevents+json")]


class CommandRecord(Struct, omit_defaults=True):
    """The envelope of a command. `patience` is a number of seconds, as text."""

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    actor: str
    schemaversion: int = 1
    patience: str | None = None
    replyto: str | None = None
    traceparent: str | None = None
    data: Raw = Raw(b"{}")


class _Asker(Struct):
    """What can be known of who sent a command that cannot be understood."""

    id: UUID | None = None
    replyto: str | None = None


_encode: Final = msgspec.json.Encoder().encode
_command: Final = msgspec.json.Decoder(CommandRecord).decode
_asker: Final = msgspec.json.Decoder(_Asker).decode
_answers: Final = msgspec.json.Decoder(list[Answer]).decode
_genesis: Final = msgspec.json.Decoder(Genesis).decode


def command(submitted: Submitted, data: bytes) -> bytes:
    """The record of a command whose encoded *data* is JSON."""
    return _encode(
        CommandRecord(
            specversion="1.0",
            id=submitted.id,
            source=SOURCE,
            type=submitted.command.topic,
            subject=submitted.stream,
            actor=submitted.actor,
            schemaversion=submitted.command.schema,
            patience=None if submitted.patience is None else repr(submitted.patience),
            replyto=submitted.reply_to,
            traceparent=submitted.traceparent,
            data=Raw(data),
        )
    )


UNFIT: Final = (msgspec.MsgspecError, ValueError, RecursionError, Undecodable)
"""What is raised where there is no command in a record."""


def submitted(value: bytes, codec: Codec) -> Submitted:
    """The command in the value of a record. Raises what is UNFIT."""
    envelope = _command(value)
    return Submitted(
        id=envelope.id,
        stream=envelope.subject,
        command=codec.decode_command(envelope.type, envelope.schemaversion, bytes(envelope.data)),
        actor=envelope.actor,
        patience=None if envelope.patience is None else float(envelope.patience),
        reply_to=envelope.replyto,
        traceparent=envelope.traceparent,
    )


def received(record: Any, codec: Codec) -> Received:
    """The command in a record of aiokafka's, whatever it is."""
    position = record.offset + 1
    at = datetime.fromtimestamp(record.timestamp / 1e3, UTC)
    value = record.value or b""
    try:
        return Received(position, at, submitted(value, codec), raw=record)
    except UNFIT as error:
        asker = _asker_of(value)
        return Received(position, at, None, str(error), asker.id, asker.replyto, record)


def _asker_of(value: bytes) -> _Asker:
    try:
        return _asker(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Asker()


def dead(letter: DeadLetter, partition: int) -> tuple[bytes | None, bytes, list[Any]]:
    """Key, value and headers of a dead letter: the record as it came, and why it is here."""
    whole = kept(letter.received.raw)
    headers = [
        ("reason", letter.reason.encode()),
        ("partition", str(partition).encode()),
        ("position", str(letter.received.position).encode()),
        ("at", letter.received.at.isoformat().encode()),
        *whole.cut,
        *whole.headers,
    ]
    return whole.key, whole.value or b"", headers


def replies(all_of_them: Iterable[Reply], partitions: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Partition, key and value for each asker's answers, as many in each record as it can hold.

    An answer to an address that is none of this log's goes nowhere.
    """
    packed: dict[str, list[bytes]] = {}
    for reply in all_of_them:
        packed.setdefault(reply.address, []).append(_encode(reply.answer))
    for address, answers in packed.items():
        partition, dot, _ = address.partition(".")
        if not (dot and partition.isdecimal() and int(partition) < partitions):
            continue
        start = size = 0
        for n, answer in enumerate(answers):
            if size + len(answer) > RECORD_LIMIT - 1024:
                yield int(partition), address.encode(), _array(answers[start:n])
                start, size = n, 0
            size += len(answer) + 1
        yield int(partition), address.encode(), _array(answers[start:])


def _array(encoded: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(encoded)


def batches(producer: Any, keyed: Iterable[tuple[bytes, bytes]]) -> Iterator[Any]:
    """Keys and values in as few batches of the producer's as hold them."""
    batch = producer.create_batch()
    for key, value in keyed:
        record = {"timestamp": None, "key": key, "value": value, "headers": CONTENT_TYPE}
        if batch.append(**record) is None:
            batch.close()
            yield batch
            batch = producer.create_batch()
            batch.append(**record)
    if batch.record_count():
        batch.close()
        yield batch


def answers(value: bytes) -> list[Answer]:
    """The answers in a record of replies; none if it is not one of ours."""
    try:
        return _answers(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


def genesis(one: Genesis, time: datetime) -> bytes:
    """The first record of a partition of events."""
    envelope = CloudEvent(
        specversion="1.0",
        id=one.id,
        source=SOURCE,
        type=GENESIS,
        subject="log",
        time=time,
        version=0,
        causationid=one.id,
        actor=SOURCE,
    )
    return cloudevents.compose(envelope, _encode(one), plain=True)


def read_genesis(value: bytes) -> Genesis:
    """What a partition says of itself. Raises CodecError if it says nothing."""
    envelope = cloudevents.parse(value)
    try:
        return _genesis(cloudevents.data_of(envelope))
    except (msgspec.MsgspecError, ValueError) as error:
        raise CodecError(f"no genesis of ours: {error}") from error
