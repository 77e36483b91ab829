"""Events and commands as bytes: exactly the same when they come back, and readable for ever.

`tests/data/events` has a stored record of each form that any version ever wrote. None is ever
changed: an event that is new, or has a new form, adds one.
"""

from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from eventsourcing.cipher import AESCipher
from eventsourcing.compressor import ZlibCompressor
from eventsourcing.persistence import JSONTranscoder, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import Environment
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from adapters import cloudevents
from adapters.codec import (
    DATA_LIMIT,
    RECORD_LIMIT,
    Codec,
    CodecError,
    FutureEvent,
    Undecodable,
)
from adapters.library import Fact, RecordMapper
from domain.envelope import Recorded
from domain.event import Command, CommandNoted, Event
from domain.kinds import DECIDERS
from domain.ticket import TICKETS
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.words import Artifact, Execution, Outcome, Precedence, Result
from domain.worker import WORKERS
from domain.worker import events as w
from domain.workflow import Run, Source, Subject, Takes, TaskSpec, Timeouts
from tests.unit.anything import of

STORED = Path(__file__).parent.parent / "data" / "events"
EVENTS: tuple[type[Event], ...] = (CommandNoted, *TICKETS.events, *WORKERS.events)
COMMANDS: tuple[type[Command], ...] = (*TICKETS.commands, *WORKERS.commands)

CIPHER = AESCipher(Environment(env={"CIPHER_KEY": AESCipher.create_key(32)}))
MAPPER = RecordMapper(JSONTranscoder())
MAPPERS = {
    "plain": MAPPER,
    "compressed": RecordMapper(JSONTranscoder(), compressor=ZlibCompressor()),
    "encrypted": RecordMapper(JSONTranscoder(), cipher=CIPHER),
    "both": RecordMapper(JSONTranscoder(), compressor=ZlibCompressor(), cipher=CIPHER),
}
CODEC = Codec(DECIDERS)
CODECS = {
    name: Codec(DECIDERS, mapper.compressor, mapper.cipher) for name, mapper in MAPPERS.items()
}

FACT = Recorded(
    id=UUID(int=1),
    originator_id="ticket/9",
    originator_version=7,
    event=e.TicketSealed(),
    time=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    actor="worker/w1",
    causationid=UUID(int=2),
    sequence=41,
    upto=40,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)

TASKS = (
    TaskSpec(name="build", run=Run(kind="shell")),
    TaskSpec(
        name="test",
        run=Run(kind="container", parameters={"image": "debian:13", "privileged": False, "n": 1.5}),
        needs=("build",),
        takes=(Takes(task="build", artifacts=("*.deb",)),),
        requires={"arch": ("arm64",), "memory": ("8G", "16G")},
        sources=(
            Source(
                kind="git", url="https://forge/p.git", revision="c0ffee", parameters={"depth": 1}
            ),
        ),
        retries=0,
        timeouts=Timeouts(queue=60.0, start=61.0, run=62.5, heartbeat=10.0),
        required=False,
        held=True,
    ),
)
TOLD: dict[str, Any] = {
    "execution": Execution.INFRASTRUCTURE,
    "outcome": Outcome.NEEDS_INSPECTION,
    "reason": "the disk is full – “/var”",
    "results": (
        Result(testcase="boot", outcome=Outcome.PASSED),
        Result(
            testcase="login", outcome=Outcome.INFO, summary="slow", duration=1.25, log="https://l/1"
        ),
    ),
    "artifacts": (
        Artifact(name="p.deb", digest="sha256:00ff", size=0),
        Artifact(name="q.deb", digest="sha256:ff00", size=2**53 - 1, url="https://a/2"),
    ),
    "log": "https://logs/9/test/1",
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

EXAMPLES: tuple[Event, ...] = (
    CommandNoted(version=3),
    e.TicketOpened(
        subject=Subject("pull_request", "tower", "42", "c0ffee", "https://forge/p/42"),
        body=bytes(range(16)),
        deadline=NOON,
        tasks=TASKS,
        labels={"suite": "trixie"},
        priority=-5,
        not_before=NOON,
        supersedes=Precedence("tower/42", 2**63 - 1),
        sealed=False,
        waits_for=("7", "8"),
    ),
    e.TasksAdded(tasks=TASKS, body=bytes(16), by_task="build"),
    e.TicketSealed(),
    e.PriorityChanged(1_000_000, "release day"),
    e.AwaitedPassed("7"),
    e.TasksReady(("build", "test")),
    e.TasksHeld(("test",), "wait for the mirror"),
    e.TasksUnheld(("test",), "the mirror is there"),
    e.TaskClaimed("test", "w1", "request-1", 60.0),
    e.TaskStarted("test", 9),
    e.LeaseLost("test", 9, "the worker was shot"),
    e.ClaimReturned("test", 9, "shutting down"),
    e.ClaimRevoked("test", 9, "wrong machine"),
    e.TaskRetried(task="test", token=9, **TOLD),
    e.TaskPassed(task="test", token=9, **TOLD),
    e.TaskFailed(task="test", token=9, **TOLD),
    e.TaskTimedOut(task="test", token=9, **TOLD),
    e.TaskSkipped(task="test", token=9, **TOLD),
    e.TaskErrored(task="test", token=9, **TOLD),
    e.TasksSkipped(("test",), "build"),
    e.TasksCancelled(("build", "test"), "not needed"),
    e.TasksReset(("build", "test"), NOON, "once more"),
    e.ReportRefused("test", 9),
    e.TicketPassed(),
    e.TicketFailed(),
    e.TicketErrored(),
    e.TicketCancelled("not needed"),
    e.TicketSuperseded("10"),
    e.TicketExpired("the deadline has passed"),
    w.WorkerRegistered("session-1", "home-1", {"arch": ("arm64",), "memory": ("8G", "16G")}, 4),
    w.WorkerDraining("new disks"),
    w.WorkerResumed("the disks are there"),
    w.WorkerGone("session-1", "it was not heard of for 30 s"),
)
"""One of each event, with something in every field."""

_OPENED = next(event for event in EXAMPLES if isinstance(event, e.TicketOpened))

UPCAST: Mapping[tuple[str, int], Event] = {
    ("turnstile.ticket.opened", 1): replace(_OPENED, waits_for=()),
    ("turnstile.ticket.lease_lost", 1): e.LeaseLost("test", 9, "the lease ran out"),
}
"""What older forms are read as."""


def stored(topic: str, form: int) -> bytes:
    """The record as it was written once, empty if there is none."""
    path = STORED / f"{topic}.v{form}.json"
    return path.read_bytes().removesuffix(b"\n") if path.exists() else b""


def altered(**attributes: Any) -> bytes:
    """A record with other attributes."""
    record = msgspec.json.decode(cloudevents.write(FACT, b"{}", plain=True))
    return msgspec.json.encode(record | attributes)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, msgspec.Struct):
        return same(astuple(one), astuple(other))
    if isinstance(one, dict):
        return list(one) == list(other) and same(list(one.values()), list(other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def recorded(event: st.SearchStrategy[Event]) -> st.SearchStrategy[Recorded]:
    return st.builds(lambda fact, event: replace(fact, event=event), of(Recorded), event)


few = settings(max_examples=settings().max_examples // 10)
some = settings(max_examples=settings().max_examples // 3)


# --------------------------------------------------------------------------- there and back again


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: str(kind.topic))
@few
@given(data=st.data())
def test_every_event_comes_back_with_exactly_its_types(
    kind: type[Event], data: st.DataObject
) -> None:
    event = data.draw(of(kind))
    for codec in CODECS.values():
        encoded = codec.encode_event(event)
        assert same(event, codec.decode_event(kind.topic, kind.class_version, encoded))


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: str(kind.topic))
@few
@given(data=st.data())
def test_every_command_comes_back_with_exactly_its_types(
    kind: type[Command], data: st.DataObject
) -> None:
    command = data.draw(of(kind))
    encoded = CODEC.encode_command(command)
    assert same(command, CODEC.decode_command(kind.topic, kind.schema, encoded))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@some
@given(fact=recorded(st.one_of(*map(of, EVENTS))))
def test_a_record_comes_back_with_everything_around_the_event(codec: Codec, fact: Recorded) -> None:
    record = cloudevents.write(fact, codec.encode_event(fact.event), plain=codec.is_plain)
    assert same(fact, cloudevents.read(cloudevents.parse(record), codec))


@pytest.mark.parametrize("mapper", MAPPERS.values(), ids=MAPPERS)
@some
@given(fact=recorded(st.one_of(*map(of, EVENTS))))
def test_the_mapper_stores_all_but_the_place_in_the_log(
    mapper: RecordMapper, fact: Recorded
) -> None:
    stored = mapper.to_stored_event(fact)
    back = mapper.to_domain_event(stored)
    placeless = replace(fact, sequence=0, upto=0)
    assert same(msgspec.structs.astuple(placeless), msgspec.structs.astuple(back))
    assert fact.event.topic == stored.topic
    if mapper.cipher is None:  # which is never the same twice
        assert stored == mapper.to_stored_event(back)


def test_one_instant_has_one_text() -> None:
    there = FACT.time.astimezone(timezone(timedelta(hours=2)))
    assert MAPPER.to_stored_event(FACT) == MAPPER.to_stored_event(replace(FACT, time=there))


# -------------------------------------------------------------------------------- the stored names


def test_every_event_and_command_has_a_name_of_its_own() -> None:
    for kinds in (EVENTS, COMMANDS):
        assert len(kinds) == len({kind.topic for kind in kinds})
        assert all("topic" in vars(kind) for kind in kinds)


def test_an_inherited_name_is_refused() -> None:
    class Louder(e.TaskPassed, frozen=True, kw_only=True):
        pass

    class Impostor(Event, frozen=True):
        topic = e.TaskPassed.topic

    for kind in (Louder, Impostor):
        tickets = replace(TICKETS, events=(*TICKETS.events, kind))
        with pytest.raises(TypeError, match=f"{kind.__name__} has no topic of its own"):
            Codec([tickets])


# ------------------------------------------------------------------------ what every version wrote


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.topic))
def test_the_stored_example_of_every_event_decodes_and_encodes_to_the_same_bytes(
    example: Event,
) -> None:
    stream = "worker/w1" if type(example) in WORKERS.events else "ticket/9"
    fact = replace(FACT, originator_id=stream, event=example)
    record = cloudevents.write(fact, CODEC.encode_event(example), plain=True)
    assert record == stored(example.topic, example.class_version)
    assert same(fact, cloudevents.read(cloudevents.parse(record), CODEC))


def test_every_event_has_a_stored_example_with_all_its_fields() -> None:
    assert EVENTS == tuple(type(example) for example in EXAMPLES)
    for example in EXAMPLES:
        for field in msgspec.structs.fields(example):
            assert getattr(example, field.name) != field.default, (example.topic, field.name)


def test_every_older_form_has_a_stored_example() -> None:
    older = {(kind.topic, form) for kind in EVENTS for form in range(1, kind.class_version)}
    assert older == UPCAST.keys()
    latest = {(kind.topic, kind.class_version) for kind in EVENTS}
    names = {f"{topic}.v{form}.json" for topic, form in older | latest}
    assert names == {path.name for path in STORED.iterdir()}


@pytest.mark.parametrize(("topic", "form"), UPCAST, ids=str)
def test_an_older_form_is_read_as_the_present_one(topic: str, form: int) -> None:
    envelope = cloudevents.parse(stored(topic, form))
    assert form == envelope.schemaversion
    assert same(UPCAST[topic, form], cloudevents.read(envelope, CODEC).event)
    asked = StoredEvent(envelope.subject, envelope.version, topic, stored(topic, form))
    assert same(UPCAST[topic, form], MAPPER.to_domain_event(asked).event)


def test_a_ticket_that_was_opened_before_tickets_could_wait_waits_for_none() -> None:
    fact = cloudevents.read(cloudevents.parse(stored("turnstile.ticket.opened", 1)), CODEC)
    ticket = TICKETS.initial()
    TICKETS.evolve(ticket, fact)
    assert [] == ticket.waits_for


# ----------------------------------------------------------------------------------- the envelope


def test_the_record_is_a_cloudevent_with_exactly_the_documented_attributes() -> None:
    fact = replace(FACT, event=e.LeaseLost("A", 3, "gone"), traceparent="00-1-2-03")
    record = cloudevents.write(fact, CODEC.encode_event(fact.event), plain=True)
    assert {
        "specversion": "1.0",
        "id": "00000000-0000-0000-0000-000000000001",
        "source": "turnstile",
        "type": "turnstile.ticket.lease_lost",
        "subject": "ticket/9",
        "time": "2026-03-01T12:00:00.123456Z",
        "version": 7,
        "causationid": "00000000-0000-0000-0000-000000000002",
        "actor": "worker/w1",
        "schemaversion": 2,
        "sequence": 41,
        "upto": 40,
        "traceparent": "00-1-2-03",
        "data": {"task": "A", "token": 3, "reason": "gone"},
    } == msgspec.json.decode(record)


def test_what_is_no_json_travels_as_base64() -> None:
    codec = CODECS["compressed"]
    data = codec.encode_event(FACT.event)
    envelope = msgspec.json.decode(cloudevents.write(FACT, data, plain=False))
    assert "data" not in envelope
    assert data == b64decode(envelope["data_base64"])


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"data":' + b"[" * 100_000, "recursion"),
        (altered(specversion="2.0"), "source"),
        (altered(source="/somebody/else"), "/somebody/else"),
        (altered(id="1"), "id"),
        (altered(time="2026-03-01T12:00:00"), "time"),
        (altered(actor=None), "actor"),
    ],
    ids=lambda of: of if isinstance(of, str) else "",
)
def test_what_is_no_record_of_ours_is_said_to_be_none(record: bytes, problem: str) -> None:
    with pytest.raises(CodecError, match=problem):
        cloudevents.parse(record)


# ------------------------------------------------------------------------- what is not understood


def test_an_event_of_an_unknown_name_or_a_newer_form_is_from_the_future() -> None:
    with pytest.raises(FutureEvent, match="frozen' in form 1"):
        CODEC.decode_event("turnstile.ticket.frozen", 1, b"{}")
    for codec in CODECS.values():
        with pytest.raises(FutureEvent, match="lease_lost' in form 3"):
            codec.decode_event(e.LeaseLost.topic, 3, b"whatever it has become")


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("form", [-1, 0, 1, 2])
def test_damaged_events_are_told_from_future_ones(codec: Codec, form: int) -> None:
    for data in (b"", b"{}", b"[" * 100_000, b'{"task": 1}', b"\xff" * 40):
        with pytest.raises(CodecError, match=f"'turnstile.ticket.lease_lost' in form {form}") as of:
            codec.decode_event(e.LeaseLost.topic, form, data)
        assert not isinstance(of.value, FutureEvent)


@pytest.mark.parametrize(
    ("topic", "schema", "data", "problem"),
    [
        ("turnstile.ticket.freeze", 1, b"{}", "unknown command 'turnstile.ticket.freeze'"),
        (c.Claim.topic, 2, b"{}", "schema 2 is newer than 1"),
        (c.Claim.topic, 1, b"{}", "required field `task`"),
        (c.Claim.topic, 1, b'{"task":"A","worker":"w","request":"r","x":1}', "unknown field `x`"),
        (c.Claim.topic, 1, b'{"task":"A B","worker":"w","request":"r"}', r"at `\$.task`"),
        (c.Start.topic, 1, b'{"task":"A","token":0}', r"at `\$.token`"),
        (c.Open.topic, 1, b'{"subject":{"kind":1}}', r"at `\$.subject.kind`"),
        (c.AddTasks.topic, 1, b'{"tasks":[{"name":"A"}]}', r"`run` - at `\$.tasks\[0\]`"),
        (c.Seal.topic, 1, b"[" * 100_000, "turnstile.ticket.seal"),
        (c.Seal.topic, 1, b"\xff", "turnstile.ticket.seal"),
    ],
)
def test_a_command_that_is_not_understood_names_the_field_at_fault(
    topic: str, schema: int, data: bytes, problem: str
) -> None:
    with pytest.raises(Undecodable, match=problem):
        CODEC.decode_command(topic, schema, data)


def test_the_mapper_tells_the_library_in_its_words() -> None:
    stored = MAPPER.to_stored_event(FACT)
    for wrong, problem in (
        (StoredEvent("ticket/8", 7, stored.topic, stored.state), "the record of"),
        (StoredEvent("ticket/9", 8, stored.topic, stored.state), "the record of"),
        (StoredEvent("ticket/9", 7, e.TicketPassed.topic, stored.state), "the record of"),
        (StoredEvent("ticket/9", 7, "topic", b"somebody's"), "no CloudEvent of ours"),
    ):
        with pytest.raises(MapperDeserialisationError, match=problem):
            MAPPER.to_domain_event(wrong)
    with pytest.raises(TypeError, match="TicketSealed is not a Recorded"):
        MAPPER.to_stored_event(e.TicketSealed())  # type: ignore[arg-type]


def test_a_fact_of_an_unknown_kind_of_stream_is_from_the_future() -> None:
    fact = Fact(*msgspec.structs.astuple(replace(FACT, originator_id="policy/1")))
    with pytest.raises(FutureEvent):
        fact.mutate(None)


# ---------------------------------------------------------------------------------------- limits


def test_the_largest_data_fits_into_a_record_with_the_largest_envelope() -> None:
    fact = replace(
        FACT,
        originator_id=f"{'k' * 32}/{'i' * 128}",
        originator_version=2**31 - 1,
        event=max(EXAMPLES, key=lambda event: len(event.topic)),
        actor="\U0001f3ab" * 256,
        sequence=2**63 - 1,
        upto=2**63 - 1,
        traceparent="\U0001f3ab" * 256,
    )
    record = cloudevents.write(fact, b'"' + b"x" * (DATA_LIMIT - 2) + b'"', plain=True)
    assert len(record) <= RECORD_LIMIT
