"""The types of what is in the topics as JSON Schema, draft 7, made from the types themselves.

Patterns are written as ECMA 262 has them. An instant is always one with an offset.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, get_args

import msgspec
from msgspec import NODEFAULT, Raw, Struct
from msgspec.structs import FieldInfo, fields

from adapters.cloudevents import SOURCE, CloudEvent
from adapters.foreign import PREFIX, Foreign
from adapters.kafka.envelopes import OTHERS, OthersEvent
from adapters.kafka.records import CommandRecord
from adapters.log import Genesis
from adapters.schemas import spelled
from domain.envelope import Actor, Answer, StreamId
from domain.event import Command, CommandNoted, Event

Schema = dict[str, Any]

_PLACE: Final = "#/components/schemas/"
_ENVELOPES: Final[Sequence[type[Struct]]] = (CloudEvent, CommandRecord, Foreign)
_NEEDED: Final = ("specversion", "id", "source", "type", "subject")
"""What every CloudEvent has."""

BINARY: Final = "ForeignHeaders"
STREAM: Final = "Stream"
ACTOR: Final = "Actor"

WITH_DATA: Final = {"oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}]}
"""As base64 travels what is compressed, encrypted, or by its sender's choice."""


def schemas(events: Iterable[type[Event]], commands: Iterable[type[Command]]) -> dict[str, Schema]:
    """Each type's, and those of what it is made of, under their names."""
    kinds: Sequence[type[Struct]] = (CommandNoted, *events, *commands, Genesis, Answer, OthersEvent)
    _, found = msgspec.json.schema_components(
        [*kinds, *map(_bare, _ENVELOPES)], ref_template=_PLACE + "{name}"
    )
    for kind in kinds:
        _date(found[kind.__name__], fields(kind))
    _narrow(found)
    found |= {
        STREAM: msgspec.json.schema(StreamId) | {"description": "`kind/id`, as `ticket/9`."},
        ACTOR: msgspec.json.schema(Actor) | {"description": "A person, worker, rule or webhook."},
        BINARY: _headers(found[Foreign.__name__]),
    }
    return {name: spelled(found[name]) for name in sorted(found)}


def ref(name: str) -> Schema:
    """A reference to the schema of that name."""
    return {"$ref": _PLACE + name}


def stream(kind: str | None) -> Schema:
    """The streams of one kind; without one, all."""
    return {"allOf": [ref(STREAM), *([] if kind is None else [{"pattern": f"^{kind}/"}])]}


def narrowed(envelope: str, required: Iterable[str] = (), /, **properties: Schema) -> Schema:
    """The envelope of that name where these of its attributes are something in particular."""
    part = {"type": "object", "required": list(required), "properties": properties}
    return {"allOf": [ref(envelope), part]}


def needs_data(kind: type[Struct]) -> bool:
    """Whether a value of the type has fields that must be given."""
    return any(field.required for field in fields(kind))


def _bare(kind: type[Struct]) -> type[Struct]:
    """The envelope without its data, whose schema is the message's."""
    kept: list[Any] = [
        (one.name, one.type) if one.default is NODEFAULT else (one.name, one.type, one.default)
        for one in fields(kind)
        if Raw not in (one.type, *get_args(one.type))
    ]
    return msgspec.defstruct(kind.__name__, kept, namespace={"__doc__": kind.__doc__})


def _narrow(found: Mapping[str, Schema]) -> None:
    """What the types leave open in the envelopes, and who reads them does not."""
    version, actor = {"const": "1.0"}, ref(ACTOR)
    ours = {"specversion": version, "source": {"const": SOURCE}, "actor": actor}
    found[CommandRecord.__name__]["properties"] |= ours
    found[CloudEvent.__name__]["properties"] |= ours
    found[CloudEvent.__name__] |= WITH_DATA
    others = {"specversion": version, "source": {"const": OTHERS}}
    found[OthersEvent.__name__]["properties"] |= others
    given = {name: {"type": "string", "minLength": 1} for name in _NEEDED}
    foreign = found[Foreign.__name__]
    foreign["properties"] |= given | {"specversion": version}
    foreign["required"] = list(_NEEDED)


def _date(schema: Schema, of: Iterable[FieldInfo]) -> None:
    for field in of:
        if datetime in (field.type, *get_args(field.type)):
            one = schema["properties"][field.encode_name]
            for choice in one.get("anyOf", [one]):
                if choice["type"] == "string":
                    choice["format"] = "date-time"


def _headers(foreign: Mapping[str, Any]) -> Schema:
    """The attributes as headers: text, all of them. The data is the value and its type a header."""
    others = ("datacontenttype", "data_base64")
    names = [name for name in foreign["properties"] if name not in others]
    texts: Schema = {f"{PREFIX}{name}": {"type": "string"} for name in names}
    texts |= {f"{PREFIX}{name}": foreign["properties"][name] for name in _NEEDED}
    return {
        "title": BINARY,
        "description": foreign["description"],
        "type": "object",
        "properties": texts,
        "required": [f"{PREFIX}{name}" for name in _NEEDED],
    }
