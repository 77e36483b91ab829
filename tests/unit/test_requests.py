"""What a foreign CloudEvent asks for; what is refused, and why."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.codec import DATA_LIMIT, Codec
from adapters.config import Requests
from adapters.foreign import Headers
from adapters.requests import Desk, command_id
from domain.envelope import Submitted
from domain.errors import Invalid
from domain.kinds import DECIDERS
from domain.ticket.commands import Cancel, Open, Seal
from tests.unit.given import opening

TOPIC = "forge.requests"
FORGE = Requests(
    actor="forge",
    may=("turnstile.ticket.open", "turnstile.ticket.cancel", "turnstile.ticket.seal"),
)
DESK = Desk({TOPIC: FORGE}, Codec(DECIDERS), DECIDERS, partitions=8)
OPENING = opening("A")
BODY = msgspec.to_builtins(OPENING)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "4711",
    "source": "/forge/hooks",
    "type": "turnstile.ticket.open",
    "subject": "ticket/9",
    "data": BODY,
}
JSON_EVENT = ("content-type", b"application/cloudevents+json")
JSON = ("content-type", b"application/json")


def structured(*headers: tuple[str, bytes | None], **changed: Any) -> Submitted:
    """What is taken of the event in structured mode, with these attributes changed."""
    event = {name: value for name, value in (EVENT | changed).items() if value is not ...}
    return DESK.take(TOPIC, headers or [JSON_EVENT], json.dumps(event).encode())


def binary(*more: tuple[str, bytes | None], **changed: Any) -> Submitted:
    """The same in binary mode."""
    event = {name: value for name, value in (EVENT | changed).items() if value is not ...}
    data = json.dumps(event.pop("data")).encode() if "data" in event else None
    headers = [(f"ce_{name}", str(value).encode()) for name, value in event.items()]
    return DESK.take(TOPIC, [*headers, *(more or [JSON])], data)


def refusal(headers: Headers, value: bytes | None) -> str:
    """The reason why a record is refused, which names the field."""
    with pytest.raises(Invalid) as refused:
        DESK.take(TOPIC, headers, value)
    assert str(refused.value).startswith(f"{refused.value.field}: ")
    return str(refused.value)


MODES = pytest.mark.parametrize("mode", [structured, binary])

# ---------------------------------------------------------------------------------- what is taken


@MODES
def test_a_request_is_a_command(mode: Any) -> None:
    assert mode() == Submitted(
        id=command_id("/forge/hooks", "4711"), stream="ticket/9", command=OPENING, actor="forge"
    )


@MODES
def test_extensions_say_who_waits_how_long_and_for_what(mode: Any) -> None:
    taken = mode(patience="2.5", replyto="7.abc", traceparent="00-1-2-01", schemaversion=1)
    assert (2.5, "7.abc") == (taken.patience, taken.reply_to)
    assert "00-1-2-01" == taken.traceparent


@MODES
def test_attributes_that_nobody_here_knows_are_of_no_concern(mode: Any) -> None:
    assert mode() == mode(time="yesterday", dataschema="x", partitionkey="k", whatever="y")


@MODES
def test_a_command_without_fields_needs_no_data(mode: Any) -> None:
    assert Seal() == mode(type="turnstile.ticket.seal", data=...).command


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+json; charset=utf-8",
        'Application/CloudEvents+JSON;charset="UTF-8"',
        "application/cloudevents+json ; foo=bar",
    ],
)
def test_a_media_type_is_compared_without_case_and_parameters(content_type: str) -> None:
    assert structured() == structured(("content-type", content_type.encode()))


def test_an_object_with_a_specversion_needs_no_content_type() -> None:
    assert structured() == structured(("x-anything", None))


def test_structured_mode_may_repeat_its_attributes_as_headers() -> None:
    assert structured() == structured(JSON_EVENT, ("ce_specversion", b"1.0"), ("ce_id", b"other"))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", "text/x+json"]
)
def test_data_in_binary_mode_is_any_json(content_type: str) -> None:
    assert binary() == binary(("content-type", content_type.encode()))
    assert binary() == binary(("x-anything", b""))


def test_attributes_that_are_null_are_not_there() -> None:
    assert structured() == structured(patience=None, actor=None, datacontenttype=None, time=None)


def test_data_may_come_as_base64() -> None:
    encoded = base64.b64encode(json.dumps(BODY).encode()).decode()
    assert structured() == structured(data=..., data_base64=encoded)


@pytest.mark.parametrize("patience", [30, 30.0, "30", "3e1"])
def test_patience_may_be_a_number(patience: object) -> None:
    assert 30.0 == structured(patience=patience).patience


# ------------------------------------------------------------------------------------ who, and id


def test_the_configured_actor_stands_before_whom_it_asks_for() -> None:
    assert "forge:alice" == structured(actor="alice").actor
    assert "forge:root:forge" == binary(actor="root:forge").actor


def test_the_same_request_is_the_same_command_in_both_modes_whatever_it_says() -> None:
    cancelling = structured(type="turnstile.ticket.cancel", data={"reason": "changed"})
    assert structured().id == binary().id == cancelling.id
    assert Cancel(reason="changed") == cancelling.command


def test_ids_are_such_as_anybody_can_compute() -> None:
    assert UUID("f010f961-12c1-5c58-9f9d-06514107ef7a") == command_id("/forge/hooks", "4711")
    assert uuid5(uuid5(NAMESPACE_URL, "/a"), "b") == command_id("/a", "b")


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_two_requests_have_two_ids(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (one == other) == (command_id(*one) == command_id(*other))


def test_source_and_id_do_not_run_into_one_another() -> None:
    pairs = (("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""))
    assert len(pairs) == len({command_id(*pair) for pair in pairs})


# --------------------------------------------------------------------------------- what is refused


@MODES
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"specversion": "0.3"}, "specversion: it is '0.3'"),
        ({"id": ""}, "id: it is empty"),
        ({"id": ...}, "id: it is missing"),
        ({"source": ...}, "source: it is missing"),
        ({"type": ...}, "type: it is missing"),
        ({"type": "turnstile.ticket.opened"}, "type: there is no command"),
        ({"type": "turnstile.ticket.claim"}, "type: forge may not ask for turnstile.ticket.claim"),
        ({"subject": ...}, "subject: it is missing"),
        ({"subject": "9"}, "subject: an id is"),
        ({"subject": "worker/9"}, "subject: worker/9 knows no turnstile.ticket.open"),
        ({"schemaversion": "2"}, "schemaversion: 2 is newer than 1"),
        ({"schemaversion": "0"}, "schemaversion: it is a whole number"),
        ({"schemaversion": "one"}, "schemaversion: it is a whole number"),
        ({"schemaversion": "9" * 5000}, "schemaversion: it is a whole number"),
        ({"patience": "soon"}, "patience: it is a number of seconds"),
        ({"patience": "-1"}, "patience: it is a number of seconds"),
        ({"patience": "nan"}, "patience: it is a number of seconds"),
        ({"patience": "0"}, "patience: it is a number of seconds"),
        ({"patience": "1e999"}, "patience: it is a number of seconds"),
        ({"replyto": "mine"}, "replyto: it is `P.NAME`"),
        ({"replyto": "8.mine"}, "replyto: it is `P.NAME`, with P below 8"),
        ({"traceparent": "a\nb"}, "traceparent: 1-256 characters"),
        ({"actor": ""}, "actor: it is empty"),
        ({"actor": "a\0"}, "actor: 1-256 characters"),
        ({"actor": "a" * 300}, "actor: 1-256 characters"),
        ({"datacontenttype": "text/xml"}, "datacontenttype: 'text/xml' is not understood"),
        ({"data": ...}, "data: turnstile.ticket.open: Object missing required field"),
        ({"data": None}, "data: turnstile.ticket.open: Expected `object`, got `null`"),
        ({"data": "{}"}, "data: turnstile.ticket.open: Expected `object`, got `str`"),
        ({"data": {**BODY, "priority": "high"}}, "data: turnstile.ticket.open: Expected `int`"),
        ({"data": {**BODY, "colour": "red"}}, "data: turnstile.ticket.open: Object contains unk"),
    ],
)
def test_a_refusal_names_the_field_and_the_reason(
    mode: Any, changed: Mapping[str, Any], reason: str
) -> None:
    if mode is binary and "datacontenttype" in changed:
        changed = {}
        headers = [("content-type", b"text/xml")]
    else:
        headers = []
    with pytest.raises(Invalid) as refused:
        mode(*headers, **changed)
    assert str(refused.value).startswith(reason)
    assert reason.startswith(str(refused.value.field))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": 4711}, "id: no CloudEvent in JSON: Expected `str | null`, got `int`"),
        ({"subject": ["ticket/9"]}, "subject: no CloudEvent in JSON"),
        ({"schemaversion": True}, "schemaversion: no CloudEvent in JSON"),
        ({"schemaversion": 1.5}, "schemaversion: no CloudEvent in JSON"),
        ({"data_base64": "e30="}, "data: there is a data_base64 as well"),
        ({"data_base64": "?", "data": ...}, "data_base64: no CloudEvent in JSON"),
    ],
)
def test_in_structured_mode_types_count(changed: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        structured(**changed)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ([JSON_EVENT], b"", "value: it is empty"),
        ([JSON_EVENT], None, "value: it is empty"),
        ([JSON_EVENT], b"{", "value: no CloudEvent in JSON"),
        ([JSON_EVENT], b"[]", "value: no CloudEvent in JSON: Expected `object`, got `array`"),
        ([JSON_EVENT], b"{}", "specversion: it is None"),
        ([JSON_EVENT], b'{"id":"\xff"}', "value: no CloudEvent in JSON"),
        ([JSON_EVENT], b'{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "value: no CloudEvent"),
        ([], b"hello", "value: no CloudEvent in JSON"),
        ([], None, "content-type: it is neither application/cloudevents+json nor"),
        ([JSON], b'{"specversion":"1.0"}', "content-type: it is neither"),
        ([JSON_EVENT, JSON], b"{}", "content-type: it is there twice"),
        ([("content-type", b"\xff")], b"{}", "content-type: it is no UTF-8"),
        ([("content-type", b"application/cloudevents+avro")], b"{}", "content-type: 'application/"),
        ([("content-type", b"application/cloudevents-batch+json")], b"[]", "content-type: "),
        (
            [("content-type", b"application/cloudevents+json; charset=latin1")],
            b"{}",
            "content-type: 'application/cloudevents+json; charset=latin1' is not understood",
        ),
        ([("ce_specversion", None)], b"{}", "specversion: it is ''"),
        ([("ce_specversion", b"1.0"), ("ce_id", b"\xff")], b"{}", "ce_id: it is no UTF-8"),
        ([("ce_specversion", b"1.0")] * 2, b"{}", "ce_specversion: it is there twice"),
        ([("CE_specversion", b"1.0"), JSON], b"{}", "content-type: it is neither"),
    ],
)
def test_what_is_no_cloudevent_is_refused(
    headers: Headers, value: bytes | None, reason: str
) -> None:
    assert refusal(headers, value).startswith(reason)


def test_a_command_that_is_larger_than_a_record_is_refused() -> None:
    labels = {f"label-{n}": "x" * 8192 for n in range(64)}
    assert isinstance(structured(data={**BODY, "labels": {"a": "b"}}).command, Open)
    with pytest.raises(Invalid, match=f"data: .* more than the {DATA_LIMIT} that one record"):
        structured(data={**BODY, "labels": labels})


NAMES = st.sampled_from(
    [
        "content-type",
        *(f"ce_{name}" for name in EVENT),
        *("ce_patience", "ce_replyto", "ce_actor", "ce_schemaversion", "ce_traceparent"),
    ]
)
VALUES = (
    st.sampled_from(
        [
            b"1.0",
            b"application/json",
            b"application/cloudevents+json",
            *(str(value).encode() for value in EVENT.values()),
        ]
    )
    | st.binary(max_size=20)
    | st.text(max_size=20).map(str.encode)
    | st.none()
)
SOMETHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries(
    {}, optional={name: st.just(value) | SOMETHING for name, value in EVENT.items()}
)


@given(
    st.lists(st.tuples(NAMES | st.text(max_size=20), VALUES), max_size=12),
    st.binary(max_size=200) | EVENTS.map(lambda event: json.dumps(event).encode()) | st.none(),
)
def test_whatever_comes_is_a_command_or_is_refused_with_a_reason(
    headers: Headers, value: bytes | None
) -> None:
    taken = _taken(headers, value)
    if isinstance(taken, Invalid):
        assert str(taken).startswith(f"{taken.field}: ")


def _taken(headers: Headers, value: bytes | None) -> Submitted | Invalid:
    try:
        return DESK.take(TOPIC, headers, value)
    except Invalid as refused:
        return refused


# ----------------------------------------------------------------------------------- the README


def test_the_request_in_the_readme_is_taken() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [request] = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    submitted = DESK.take(TOPIC, [JSON_EVENT], request.encode())
    assert "ticket/tower-4711" == submitted.stream
    assert isinstance(submitted.command, Open)
    assert ["build", "unit"] == [task.name for task in submitted.command.tasks]
