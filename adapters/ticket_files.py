"""Tickets in files, as people write them: TOML, YAML, JSON, or JSON a line.

A file has the form of what the API takes to open a ticket, whatever its format. YAML may have
several documents, and JSON several lines: each is a ticket. Without an `id` a ticket gets one that
follows from what is in it, so that the same file twice is the same ticket.
"""

import re
import tomllib
from collections.abc import Callable, Hashable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from adapters.http.commands import Opening
from adapters.http.endpoint import converted
from adapters.schemas import spelled
from domain.errors import Invalid
from domain.shell import KIND, Shell
from domain.workflow import check

STDIN: Final = "-"


class Unreadable(Exception):
    """There is no ticket at a place, for a reason; a file may be `missing`."""

    def __init__(self, place: str, reason: str, *, missing: bool = False) -> None:
        super().__init__(f"{place}: {reason}")
        self.missing = missing


class Found(msgspec.Struct, frozen=True):
    """A ticket to be opened, and where it was found."""

    place: str
    opening: Opening


def found(paths: list[str], stdin: Callable[[], bytes], format_: str | None) -> Iterator[Found]:
    """The tickets of files, of directories, and of *stdin* for `-`. Raises Unreadable.

    A directory means its files whose endings are known, in the order of their names.
    """
    for path in paths:
        if path == STDIN:
            yield from _tickets("stdin", stdin(), format_ or "json")
        elif Path(path).is_dir():
            inside = [one for one in sorted(Path(path).iterdir()) if one.suffix in ENDINGS]
            if not inside:
                raise Unreadable(path, f"no file in it ends with {', '.join(ENDINGS)}")
            for one in inside:
                yield from _of_file(one, None)
        else:
            yield from _of_file(Path(path), format_)


def _of_file(path: Path, format_: str | None) -> Iterator[Found]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(str(path), error.strerror or str(error), missing=True) from error
    kind = format_ or ENDINGS.get(path.suffix)
    if kind is None:
        raise Unreadable(str(path), f"it ends with none of {', '.join(ENDINGS)}: say its --format")
    yield from _tickets(str(path), content, kind)


def _tickets(place: str, content: bytes, format_: str) -> Iterator[Found]:
    try:
        documents = list(FORMATS[format_](content))
    except (ValueError, msgspec.MsgspecError, yaml.YAMLError, RecursionError) as error:
        raise Unreadable(place, f"it is no {format_.upper()}: {error}") from error
    if not documents:
        raise Unreadable(place, "there is no ticket in it")
    for n, document in enumerate(documents, start=1):
        where = place if len(documents) == 1 else f"{place}, ticket {n}"
        yield Found(where, _opening(where, document))


def _opening(place: str, document: Any) -> Opening:
    if not isinstance(document, Mapping):
        raise Unreadable(place, "a ticket is an object: subject, tasks …")
    given = {"id": "-", **document}
    try:
        opening: Opening = converted(given, Opening, strict=True)
        check(opening.tasks)
    except Invalid as invalid:
        raise Unreadable(place, str(invalid)) from invalid
    if "id" in document:
        return opening
    return msgspec.structs.replace(opening, id=_id(opening))


def _id(opening: Opening) -> str:
    """Readable, and another one for everything else."""
    digest = blake2b(msgspec.json.encode(opening), digest_size=6).hexdigest()
    name = re.sub(r"[^A-Za-z0-9._:-]+", "-", f"{opening.subject.project}-{opening.subject.name}")
    return f"{name[:100]}-{digest}"


def _json(content: bytes) -> Iterator[Any]:
    """One value, or one a line."""
    try:
        yield msgspec.json.decode(content)
    except msgspec.DecodeError:
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        yield from map(msgspec.json.decode, lines)


def _toml(content: bytes) -> Iterator[Any]:
    yield tomllib.loads(content.decode())


def _yaml(content: bytes) -> Iterator[Any]:
    yield from (one for one in yaml.load_all(content, _Yaml) if one is not None)


class _Yaml(yaml.CSafeLoader):
    """As YAML 1.2 reads it: `no` and `12:30` are text. A key that is there twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_PLAIN: Final = (
    ("tag:yaml.org,2002:bool", r"true|false", "tf"),
    ("tag:yaml.org,2002:null", r"null|~|", ["n", "~", ""]),
    ("tag:yaml.org,2002:int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-+0123456789"),
)
_Yaml.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _PLAIN:
    _Yaml.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))

FORMATS: Final[Mapping[str, Callable[[bytes], Iterator[Any]]]] = {
    "json": _json,
    "toml": _toml,
    "yaml": _yaml,
}

ENDINGS: Final = {
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".ndjson": "json",
}
"""Which format a file has by its ending."""


def schema() -> dict[str, Any]:
    """The JSON Schema of a file, for editors."""
    kinds = [Opening, Shell]
    _, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    top = dict(components.pop("Opening"))
    top["required"] = [name for name in top["required"] if name != "id"]
    components["Run"] |= {  # what other kinds take, their runners know
        "if": {"properties": {"kind": {"const": KIND}}},
        "then": {"properties": {"parameters": {"$ref": "#/$defs/Shell"}}},
    }
    described: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": "A ticket of Turnstile",
        "$defs": components,
    }
    spelt: dict[str, Any] = spelled(described)
    return spelt
