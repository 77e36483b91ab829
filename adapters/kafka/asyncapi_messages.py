"""The messages of the topics, as AsyncAPI 3.0 has them: what is in a record, around it, and why."""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, Final, get_args

from adapters.cloudevents import CloudEvent
from adapters.dead import How
from adapters.foreign import CONTENT_TYPE, JSON_EVENT, PREFIX, Foreign
from adapters.kafka.asyncapi_schemas import (
    BINARY,
    WITH_DATA,
    Schema,
    narrowed,
    needs_data,
    ref,
    stream,
)
from adapters.kafka.envelopes import OthersEvent
from adapters.kafka.records import GENESIS, CommandRecord
from adapters.log import Genesis
from domain.envelope import Answer
from domain.event import Command, Event

BINDING: Final = "0.5.0"
"""Of the Kafka bindings."""

JSON: Final = "application/json"
Message = dict[str, Any]
Named = tuple[str, Message]


def events(kind: type[Event], of: str | None) -> Iterator[Named]:
    """A stored event, in each of the forms that may lie in the topic; *of* a kind of stream."""
    subject = stream(of)
    for form in range(1, kind.class_version):
        older = narrowed(
            CloudEvent.__name__,
            type={"const": kind.topic},
            schemaversion={"const": form},
            subject=subject,
            data={"type": "object"},
        )
        about = getattr(kind, f"upcast_v{form}_v{form + 1}").__doc__
        title = f"{kind.__name__}, as version {form} wrote it"
        yield f"{kind.topic}.v{form}", _message(kind.topic, title, about, older, key=subject)
    payload = narrowed(
        CloudEvent.__name__,
        ("schemaversion",) if kind.class_version > 1 else (),
        type={"const": kind.topic},
        schemaversion={"const": kind.class_version},
        subject=subject,
        data=ref(kind.__name__),
    )
    yield kind.topic, _message(kind.topic, kind.__name__, kind.__doc__, payload, key=subject)


def genesis() -> Named:
    """The first record of a partition of events."""
    payload = narrowed(
        CloudEvent.__name__,
        type={"const": GENESIS},
        subject={"const": "log"},
        data=ref(Genesis.__name__),
    )
    return GENESIS, _message(GENESIS, Genesis.__name__, Genesis.__doc__, payload)


def others() -> Named:
    """An event of another application of the library's, in the same topic."""
    payload = ref(OthersEvent.__name__)
    about = OthersEvent.__doc__
    return "others", _message("others", OthersEvent.__name__, about, payload, key=stream(None))


def command(kind: type[Command], of: str) -> Named:
    """A command as engines read it."""
    payload = narrowed(
        CommandRecord.__name__,
        ("data",) if needs_data(kind) else (),
        type={"const": kind.topic},
        schemaversion={"const": kind.schema},
        subject=stream(of),
        data=ref(kind.__name__),
    )
    return kind.topic, _message(kind.topic, kind.__name__, kind.__doc__, payload, key=stream(of))


def requests(kind: type[Command], of: str) -> Iterator[Named]:
    """A command as a foreign producer asks for it, in structured and in binary mode."""
    forms = range(1, kind.schema + 1)
    structured = narrowed(
        Foreign.__name__,
        type={"const": kind.topic},
        schemaversion={"enum": [*forms]},
        subject=stream(of),
        data=ref(kind.__name__),
    )
    if needs_data(kind):
        structured["allOf"].append(WITH_DATA)
    title = f"{kind.__name__}, structured"
    yield kind.topic, _message(kind.topic, title, kind.__doc__, structured, headers=_STRUCTURED)
    attributes: Schema = {
        "type": {"const": kind.topic},
        "schemaversion": {"enum": [str(form) for form in forms]},
        "subject": stream(of),
    }
    around = {f"{PREFIX}{name}": schema for name, schema in attributes.items()}
    headers = narrowed(BINARY, **around, **{CONTENT_TYPE: {"type": "string"}})
    title = f"{kind.__name__}, binary"
    yield (
        f"{kind.topic}.binary",
        _message(kind.topic, title, kind.__doc__, ref(kind.__name__), headers=headers, media=JSON),
    )


def answers() -> Named:
    """What became of some commands."""
    payload = {"type": "array", "items": ref(Answer.__name__)}
    key = {"type": "string", "description": "The `replyto` of the commands."}
    about = f"Answers to one asker.\n\n{cleandoc(Answer.__doc__ or '')}"
    return "answers", _message("answers", "Answers", about, payload, key=key, media=JSON)


def dead() -> Iterator[Named]:
    """What could not be taken of the commands and of the requests, and what became of it."""
    common = {
        "reason": _text("Why it was put aside."),
        "partition": _number("The partition in which it was."),
        "at": _text("When it came in."),
    }
    position = {"position": _number("The offset at which it was, and one.")}
    yield "command", _dead("A command that no engine understands", common | position)
    place = {"topic": _text("The request topic."), "offset": _number("The offset at which it was.")}
    cut = {"cut": _number("Bytes that it had; there where what is here is only a part of it.")}
    yield "request", _dead("A request that cannot be taken", common | place, cut)
    yield "settlement", _settlement()


def _settlement() -> Message:
    needed = {
        "settles": _number("The offset of the letter, in the same partition."),
        "how": {"type": "string", "enum": [*get_args(How)]},
        "by": _text("Who has settled it."),
    }
    why = {"why": _text("The reason that was given.")}
    headers = {"type": "object", "required": [*needed], "properties": needed | why}
    about = "What became of a letter: it was injected again, or dropped. There is no value."
    media = "application/octet-stream"
    return _message(
        "settlement", "What became of a letter", about, {}, headers=headers, media=media
    )


def _dead(title: str, needed: Schema, more: Schema | None = None) -> Message:
    headers = {"type": "object", "required": [*needed], "properties": needed | (more or {})}
    about = "The record as it came, its own headers as well. Where names are twice, see the topic."
    media = "application/octet-stream"
    return _message("dead", title, about, {}, headers=headers, media=media)


def _text(about: str) -> Schema:
    return {"type": "string", "description": about}


def _number(about: str) -> Schema:
    return {"type": "string", "pattern": "^[0-9]+$", "description": about}


_STRUCTURED: Final[Schema] = {
    "type": "object",
    "properties": {CONTENT_TYPE: {"type": "string", "default": JSON_EVENT}},
}


def _message(
    name: str,
    title: str,
    about: str | None,
    payload: Schema,
    *,
    key: Schema | None = None,
    headers: Schema | None = None,
    media: str = JSON_EVENT,
) -> Message:
    message: Message = {
        "name": name,
        "title": title,
        "description": cleandoc(about or ""),
        "contentType": media,
        "payload": payload,
    }
    if headers is not None:
        message["headers"] = headers
    if key is not None:
        message["bindings"] = {"kafka": {"key": key, "bindingVersion": BINDING}}
    return message
