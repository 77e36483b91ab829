"""What a dead letter says, whoever has written it, and how much of it is shown."""

import base64
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dead import SHOWN, Content, NoSuchLetter, letter_id, place_of
from adapters.kafka import records, request_records
from adapters.kafka.dead_records import DeadRecord, settles
from adapters.kafka.kept import WHOLE
from adapters.kafka.request_records import Request
from adapters.log import DeadLetter, Received
from adapters.requests import command_id
from domain.workflow import Id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT = {"id": "1", "source": "/forge", "type": "t", "subject": "ticket/9", "actor": "alice"}
Headers = list[tuple[str, bytes | None]]


def record(value: bytes | None = b"", headers: Any = (), key: bytes | None = b"k") -> Any:
    return SimpleNamespace(
        topic="forge", partition=3, offset=41, timestamp=0, key=key, value=value, headers=headers
    )


def request(value: bytes = b"", headers: Any = ()) -> DeadRecord:
    """The letter that a request becomes."""
    dead = request_records.dead(Request(record(value, headers), None, "no JSON"))
    return DeadRecord(record(dead["value"], dead["headers"], dead["key"]))


def command(value: bytes = b"", headers: Any = ()) -> DeadRecord:
    """The letter that a command becomes."""
    letter = DeadLetter(Received(42, NOON, None, raw=record(value, headers)), "no JSON")
    key, put, noted = records.dead(letter, 7)
    return DeadRecord(record(put, noted, key))


# ------------------------------------------------------------------------------- whose letter it is

OURS: list[Headers] = [
    [],
    [("cut", b"9")],
    [("reason", b"mine")],
    [("ce_type", b"t"), ("ce_type", b"u"), ("content-type", None)],
    [("reason", b"x"), ("topic", b"x"), ("partition", b"x"), ("offset", b"x"), ("at", b"x")],
    [("reason", b"x"), ("partition", b"1"), ("position", b"2"), ("at", b"x"), ("cut", b"9")],
    settles(4711, "dropped", "somebody", "for fun"),  # type: ignore[list-item]
]


@pytest.mark.parametrize("headers", OURS)
def test_a_request_is_one_whatever_its_sender_calls_its_headers(headers: Headers) -> None:
    letter = request(b"value", headers)
    assert ("request", False, False) == (letter.kind, letter.is_settling, letter.is_cut)
    assert headers == list(letter.own)
    listed = letter.letter()
    assert ("forge", 3, 41, "no JSON") == (
        listed.topic,
        listed.partition,
        listed.position,
        listed.reason,
    )


@pytest.mark.parametrize("headers", OURS[:4])
def test_a_command_is_one_whatever_its_headers_are(headers: Headers) -> None:
    letter = command(b"value", headers)
    assert ("command", False) == (letter.kind, letter.is_settling)
    listed = letter.letter()
    assert (None, 7, 42, "no JSON") == (
        listed.topic,
        listed.partition,
        listed.position,
        listed.reason,
    )


@pytest.mark.parametrize("put_aside", [request, command])
def test_what_was_cut_says_how_large_it_was(put_aside: Any) -> None:
    letter = put_aside(bytes(WHOLE))
    assert letter.is_cut
    assert WHOLE < letter.letter().size
    assert not put_aside(b"small").is_cut


def test_what_became_of_a_letter_is_read_as_it_was_written() -> None:
    found = DeadRecord(record(b"", settles(5, "dropped", "älice", "it is old")))
    assert found.is_settling
    settling = found.settling()
    assert settling is not None
    assert (5, 41) == (settling.place, settling.said_in)
    said = settling.settlement
    assert ("dropped", "älice", "it is old") == (said.how, said.by, said.why)


def test_no_letter_is_settled_before_it_is_there() -> None:
    assert DeadRecord(record(b"", settles(41, "dropped", "alice", None))).settling() is None


@given(
    value=st.none() | st.binary(),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["reason", "topic", "partition", "offset", "at", "cut", "position"])
            | st.sampled_from(["settles", "how", "by", "why", "ce_specversion", "ce_id"]),
            st.none() | st.binary() | st.sampled_from([b"1", b"dropped", b"9" * 30]),
        )
    ),
    timestamp=st.integers(-(2**63), 2**63 - 1),
)
def test_anything_in_the_topic_is_something(
    value: bytes | None, headers: Headers, timestamp: int
) -> None:
    given = record(value, headers)
    given.timestamp = timestamp
    letter = DeadRecord(given)
    if letter.is_settling:
        letter.settling()
    for text in msgspec.structs.astuple(letter.letter()):
        assert not isinstance(text, str) or b"\0" not in text.encode()


# ------------------------------------------------------------------------------- what is in it


def test_the_attributes_of_a_structured_request_are_listed() -> None:
    listed = request(msgspec.json.encode(EVENT)).letter()
    assert ("ticket/9", "t", "alice", str(command_id("/forge", "1"))) == (
        listed.stream,
        listed.type,
        listed.actor,
        listed.command,
    )


def test_the_attributes_of_a_binary_request_are_not_taken_from_its_data() -> None:
    headers = [(f"ce_{name}", text.encode()) for name, text in EVENT.items()]
    listed = request(b'{"type":"no","subject":"none/1"}', [("ce_specversion", b""), *headers])
    assert ("ticket/9", "t", "alice", str(command_id("/forge", "1"))) == (
        listed.letter().stream,
        listed.letter().type,
        listed.letter().actor,
        listed.letter().command,
    )


@pytest.mark.parametrize("value", [b"", b"[]", b'{"id":1,"type":[{}]}', b"[" * 100_000, b"\xff"])
def test_of_what_is_no_cloudevent_nothing_is_listed(value: bytes) -> None:
    listed = command(value).letter()
    assert [None] * 4 == [listed.stream, listed.type, listed.command, listed.actor]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"", Content(text="")),
        ("é".encode(), Content(text="é")),
        (b"a" * SHOWN, Content(text="a" * SHOWN)),
        (b"a" * (SHOWN + 1), Content(text="a" * SHOWN, cut=True)),
        (b"a" + "é".encode() * SHOWN, Content(text="a" + "é" * (SHOWN // 2 - 1), cut=True)),
        (b"\xff\x00", Content(base64=base64.b64encode(b"\xff\x00").decode())),
        (
            b"\xff" * (SHOWN + 1),
            Content(base64=base64.b64encode(b"\xff" * SHOWN).decode(), cut=True),
        ),
    ],
)
def test_text_is_shown_as_text_and_all_else_as_base64(value: bytes, shown: Content) -> None:
    assert shown == Content.of(value)


# ------------------------------------------------------------------------------- its id


@given(st.integers(0, 999_999_999), st.integers(0, 10**18 - 1))
def test_an_id_is_one_of_ours_and_leads_to_its_place(partition: int, place: int) -> None:
    id_ = letter_id(partition, place)
    assert (partition, place) == place_of(msgspec.convert(id_, Id))


@pytest.mark.parametrize(
    "id_",
    ["", "1", "1-", "-1", "01-1", "1-01", "1-1-1", "1-x", "\N{ARABIC-INDIC DIGIT ONE}-1", "1-1\n"],
)
def test_what_is_no_id_leads_nowhere(id_: str) -> None:
    with pytest.raises(NoSuchLetter):
        place_of(id_)
