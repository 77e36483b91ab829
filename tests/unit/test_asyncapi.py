"""The AsyncAPI document: valid, complete, up to date, and what is really written fits it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner
from eventsourcing.compressor import ZlibCompressor
from eventsourcing.persistence import StoredEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft7Validator
from msgspec.structs import fields, replace

from adapters import cloudevents
from adapters.codec import Codec
from adapters.config import Requests
from adapters.foreign import Headers
from adapters.kafka import dead_records, records, request_records, request_topics
from adapters.kafka.asyncapi import document
from adapters.kafka.envelopes import drafted
from adapters.kafka.kept import WHOLE
from adapters.kafka.request_records import Request
from adapters.kafka.topics import TOPICS
from adapters.log import DeadLetter, Genesis, Received, Reply
from adapters.requests import Desk
from domain.envelope import Answer, Recorded, Submitted
from domain.errors import Invalid
from domain.event import Command, CommandNoted, Event
from domain.kinds import DECIDERS
from domain.ticket import events as e
from tests.unit.anything import of
from workers.cli import main

DOCUMENT = document(DECIDERS)
COMMANDS = [command for decider in DECIDERS for command in decider.commands]
EVENTS: list[type[Event]] = [
    CommandNoted,
    *(event for decider in DECIDERS for event in decider.events),
]
STORED = Path(__file__).parent.parent / "data" / "events"
CODEC = Codec(DECIDERS)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

FACT = Recorded(
    id=UUID(int=1),
    originator_id="ticket/9",
    originator_version=7,
    event=e.TicketSealed(),
    time=NOON,
    actor="worker/w1",
    causationid=UUID(int=2),
)

few = settings(max_examples=settings().max_examples // 10)


@cache
def validator(pointer: str) -> Draft7Validator:
    """What checks values by the schema at that place of the document."""
    return Draft7Validator(DOCUMENT | {"$ref": pointer}, validate_formats=True)


def messages(channel: str) -> dict[str, Any]:
    """The messages of a channel by name."""
    found: dict[str, Any] = DOCUMENT["channels"][channel]["messages"]
    return {name: at(message["$ref"]) for name, message in found.items()}


def at(pointer: str) -> Any:
    """What a reference within the document means."""
    found: Any = DOCUMENT
    for step in pointer.removeprefix("#/").split("/"):
        found = found[step]
    return found


def fitting(channel: str, value: bytes) -> list[str]:
    """The names of the messages of the channel whose payload the value is."""
    instance = json.loads(value)
    return [
        name
        for name in messages(channel)
        if validator(f"#/components/messages/{channel}.{name}/payload").is_valid(instance)
    ]


def fits_headers(message: str, headers: Headers) -> bool:
    """Whether the headers are those of the message."""
    given = {name: (value or b"").decode() for name, value in headers}
    return validator(f"#/components/messages/{message}/headers").is_valid(given)


def stream_of(kind: type[Event | Command]) -> str:
    """A stream that can have it."""
    of_kind = (d.kind for d in DECIDERS if kind in (*d.events, *d.commands))
    return f"{next(of_kind, 'ticket')}/9"


# ------------------------------------------------------------------------------- the document


def test_the_copy_in_the_package_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["asyncapi"], catch_exceptions=False).stdout
    copy = files("adapters.kafka").joinpath("asyncapi.json").read_text()
    assert printed == copy, "renew it: turnstile asyncapi > adapters/kafka/asyncapi.json"


def test_every_event_has_a_message_and_every_form_that_it_ever_had() -> None:
    expected = {"turnstile.genesis", "others"}
    for kind in EVENTS:
        expected |= {kind.topic}
        expected |= {f"{kind.topic}.v{form}" for form in range(1, kind.class_version)}
    assert expected == messages("events").keys()


def test_every_command_has_a_message_and_can_be_asked_for_in_both_modes() -> None:
    topics = {kind.topic for kind in COMMANDS}
    assert topics == messages("commands").keys()
    assert topics | {f"{topic}.binary" for topic in topics} == messages("requests").keys()


def test_the_description_of_a_message_is_what_the_type_says_of_itself() -> None:
    for kind in COMMANDS:
        sentence = (kind.__doc__ or "").partition("\n")[0]
        for name in (f"commands.{kind.topic}", f"requests.{kind.topic}.binary"):
            assert at(f"#/components/messages/{name}")["description"].startswith(sentence)
    older = at("#/components/messages/events.turnstile.ticket.lease_lost.v1")
    assert "Version 1 knew one reason only and did not say it." == older["description"]


def test_every_field_of_every_event_and_command_is_in_its_schema() -> None:
    kinds: list[type[Event] | type[Command]] = [*EVENTS, *COMMANDS]
    for kind in kinds:
        schema = at(f"#/components/schemas/{kind.__name__}")
        assert [field.name for field in fields(kind)] == list(schema["properties"])
        assert [field.name for field in fields(kind) if field.required] == schema["required"]


def test_an_instant_is_said_to_be_one() -> None:
    opened = at("#/components/schemas/TicketOpened")["properties"]
    assert {"type": "string", "format": "date-time"} == opened["deadline"]
    assert opened["deadline"] in opened["not_before"]["anyOf"]


def test_every_reference_leads_somewhere() -> None:
    pointers = {value for name, value in _walked(DOCUMENT) if name == "$ref"}
    assert len(pointers) > 100
    for pointer in pointers:
        assert pointer.startswith("#/")
        at(pointer)


def test_no_pattern_is_one_that_only_python_understands() -> None:
    patterns = {value for name, value in _walked(DOCUMENT) if name == "pattern"}
    assert patterns
    assert [] == [one for one in patterns if "\\A" in one or "\\Z" in one]


def test_the_topics_are_described_with_the_settings_that_they_are_made_with() -> None:
    described = {
        name: channel["bindings"]["kafka"]["topicConfiguration"]
        for name, channel in DOCUMENT["channels"].items()
    }
    actual = {
        name: {
            key: ",".join(value) if isinstance(value, list) else str(value)
            for key, value in topic.items()
        }
        for name, topic in described.items()
    }
    assert {**TOPICS, "requests": request_topics.SETTINGS} == actual


def test_the_document_keeps_the_rules_of_asyncapi() -> None:
    assert {"asyncapi", "info"} <= DOCUMENT.keys()
    assert "3.0.0" == DOCUMENT["asyncapi"]
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    for channel in DOCUMENT["channels"].values():
        named = {part.partition("}")[0] for part in channel["address"].split("{")[1:]}
        assert named == channel["parameters"].keys()
        assert channel["messages"]
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        for place in (operation["channel"], operation.get("reply", operation)["channel"]):
            assert place["$ref"] in [f"#/channels/{name}" for name in DOCUMENT["channels"]]
    for message in DOCUMENT["components"]["messages"].values():
        assert message.keys() <= {
            *("name", "title", "description", "contentType", "payload", "headers", "bindings")
        }


def _walked(part: Any) -> Iterator[tuple[str, str]]:
    """Every text in the document, with the name that it stands under."""
    for name, each in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(each, str):
            yield str(name), each
        elif isinstance(each, dict | list):
            yield from _walked(each)


# ----------------------------------------------------------------------------- what is written


@pytest.mark.parametrize("path", sorted(STORED.iterdir()), ids=lambda path: str(path.stem))
def test_what_any_version_ever_stored_fits_the_message_of_its_form_alone(path: Path) -> None:
    topic, _, form = path.stem.rpartition(".v")
    is_older = f"{topic}.v{form}" in messages("events")
    assert [f"{topic}.v{form}" if is_older else topic] == fitting("events", path.read_bytes())


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: str(kind.topic))
@few
@given(data=st.data())
def test_any_event_fits_its_message(kind: type[Event], data: st.DataObject) -> None:
    fact = replace(
        data.draw(of(Recorded)), originator_id=stream_of(kind), event=data.draw(of(kind))
    )
    record = cloudevents.write(fact, CODEC.encode_event(fact.event), plain=True)
    validator(f"#/components/messages/events.{kind.topic}/payload").validate(json.loads(record))


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: str(kind.topic))
@few
@given(data=st.data())
def test_any_command_fits_its_message(kind: type[Command], data: st.DataObject) -> None:
    submitted = replace(
        data.draw(of(Submitted)), stream=stream_of(kind), command=data.draw(of(kind))
    )
    record = records.command(submitted, CODEC.encode_command(submitted.command))
    validator(f"#/components/messages/commands.{kind.topic}/payload").validate(json.loads(record))


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, "turnstile.ticket.lease_lost"),
        ({"schemaversion": 1}, "turnstile.ticket.lease_lost.v1"),
        ({"schemaversion": ...}, "turnstile.ticket.lease_lost.v1"),
        ({"schemaversion": 3}, None),
        ({"subject": "policy/9"}, None),
        ({"subject": "tickets/9"}, None),
        ({"source": "/somebody/else"}, None),
        ({"time": "yesterday"}, None),
        ({"data": ...}, None),
        ({"data": {"task": "A", "token": 3}}, None),
    ],
)
def test_what_is_no_event_in_its_form_fits_no_message(
    changed: dict[str, Any], fits: str | None
) -> None:
    fact = replace(FACT, event=e.LeaseLost("A", 3, "gone"))
    event = json.loads(cloudevents.write(fact, CODEC.encode_event(fact.event), plain=True))
    left = {name: value for name, value in (event | changed).items() if value is not ...}
    assert ([] if fits is None else [fits]) == fitting("events", json.dumps(left).encode())


def test_a_compressed_event_fits_its_message() -> None:
    data = Codec(DECIDERS, ZlibCompressor()).encode_event(FACT.event)
    record = cloudevents.write(FACT, data, plain=False)
    assert [FACT.event.topic] == fitting("events", record)


def test_the_genesis_fits_its_message() -> None:
    genesis = records.genesis(Genesis(format=1, partitions=8, id=UUID(int=3)), NOON)
    assert ["turnstile.genesis"] == fitting("events", genesis)


def test_what_another_application_stores_fits_its_message() -> None:
    event = StoredEvent("dog/1", 1, "dogs:Registered", b"\x00\xff")
    assert ["others"] == fitting("events", drafted(event, NOON).record(1))


@few
@given(answers=st.lists(of(Answer), min_size=1, max_size=3))
def test_any_answers_fit_their_message(answers: list[Answer]) -> None:
    for _, _, value in records.replies([Reply("7.abc", one) for one in answers], 8):
        assert ["answers"] == fitting("replies", value)


def record(key: bytes | None = b"ticket/9", value: bytes | None = b"no JSON") -> SimpleNamespace:
    """One of aiokafka's."""
    return SimpleNamespace(
        topic="forge.requests",
        partition=3,
        offset=41,
        timestamp=0,
        key=key,
        value=value,
        headers=(),
    )


def test_a_command_that_is_put_aside_has_the_headers_of_its_message() -> None:
    letter = DeadLetter(Received(42, NOON, None, raw=record()), "it is no JSON")
    _, _, headers = records.dead(letter, 3)
    assert fits_headers("dead.command", headers)
    assert not fits_headers("dead.request", headers)
    declared = messages("dead")["command"]["headers"]["properties"]
    assert [name for name, _ in headers] == sorted(declared, key=[*dict(headers)].index)


@pytest.mark.parametrize("value", [b"no JSON", bytes(WHOLE)])
def test_a_request_that_is_put_aside_has_the_headers_of_its_message(value: bytes) -> None:
    headers = request_records.dead(Request(record(value=value), None, "no JSON"))["headers"]
    assert fits_headers("dead.request", headers)
    assert not fits_headers("dead.command", headers)
    assert dict(headers).keys() <= messages("dead")["request"]["headers"]["properties"].keys()


@pytest.mark.parametrize("why", ["it is old", None])
def test_what_became_of_a_letter_has_the_headers_of_its_message(why: str | None) -> None:
    headers: Headers = dead_records.settles(41, "dropped", "alice", why)
    assert fits_headers("dead.settlement", headers)
    assert not fits_headers("dead.command", headers)
    assert not fits_headers("dead.request", headers)
    assert dict(headers).keys() <= messages("dead")["settlement"]["headers"]["properties"].keys()


# ------------------------------------------------------------------------- what may be asked for

TOPIC = "forge.requests"
DESK = Desk(
    {TOPIC: Requests(actor="forge", may=tuple(kind.topic for kind in COMMANDS))},
    CODEC,
    DECIDERS,
    partitions=8,
)
ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "id": "4711",
    "source": "/forge/hooks",
    "subject": "ticket/9",
}
JSON_EVENT = ("content-type", b"application/cloudevents+json")


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: str(kind.topic))
@few
@given(data=st.data())
def test_a_request_that_fits_is_taken(kind: type[Command], data: st.DataObject) -> None:
    command = data.draw(of(kind))
    body = msgspec.to_builtins(command)
    event = ATTRIBUTES | {"type": kind.topic, "data": body, "patience": 2.5, "replyto": "7.abc"}
    event |= {"subject": stream_of(kind)}
    value = msgspec.json.encode(event)
    validator(f"#/components/messages/requests.{kind.topic}/payload").validate(json.loads(value))
    assert command == DESK.take(TOPIC, [JSON_EVENT], value).command

    binary = f"#/components/messages/requests.{kind.topic}.binary"
    texts = {name: str(given) for name, given in event.items() if name != "data"}
    headers = [(f"ce_{name}", text.encode()) for name, text in texts.items()]
    validator(f"{binary}/payload").validate(json.loads(msgspec.json.encode(body)))
    assert fits_headers(f"requests.{kind.topic}.binary", headers)
    assert command == DESK.take(TOPIC, headers, msgspec.json.encode(body)).command


@pytest.mark.parametrize(
    ("changed", "is_taken"),
    [
        ({}, True),
        ({"schemaversion": 1}, True),
        ({"patience": "2.5"}, True),
        ({"time": "yesterday", "whatever": "y"}, True),
        ({"data": ..., "data_base64": "eyJ0YXNrIjoiQSIsInRva2VuIjozfQ=="}, True),
        ({"specversion": "2.0"}, False),
        ({"id": ""}, False),
        ({"id": 4711}, False),
        ({"source": None}, False),
        ({"type": "turnstile.ticket.stop"}, False),
        ({"subject": "9"}, False),
        ({"subject": "policy/9"}, False),
        ({"schemaversion": 2}, False),
        ({"data": ...}, False),
        ({"data": {"task": "A"}}, False),
        ({"data": {"task": "A\n", "token": 3}}, False),
        ({"data": {"task": "A", "token": 0}}, False),
        ({"data": {"task": "A", "token": 3, "worker": "w1"}}, False),
    ],
)
def test_the_schema_and_the_intake_agree_on_what_is_a_request(
    changed: dict[str, Any], is_taken: bool
) -> None:
    event = ATTRIBUTES | {"type": "turnstile.ticket.start", "data": {"task": "A", "token": 3}}
    given = {name: one for name, one in (event | changed).items() if one is not ...}
    value = json.dumps(given).encode()
    assert (["turnstile.ticket.start"] if is_taken else []) == fitting("requests", value)
    if is_taken:
        assert "A" == DESK.take(TOPIC, [JSON_EVENT], value).command.task  # type: ignore[attr-defined]
    else:
        with pytest.raises(Invalid):
            DESK.take(TOPIC, [JSON_EVENT], value)
