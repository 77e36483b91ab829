"""The description of the API, in OpenAPI 3.1, made from the endpoints and their types."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args, get_origin

import msgspec

from adapters.http import examples
from adapters.http.endpoint import WORDS, Endpoint, Stream, Text
from adapters.http.problems import CONTENT_TYPE, TITLES, Problem
from adapters.schemas import spelled
from domain.workflow import Id

ALWAYS: Final = (400, 401, 408, 422, 431, 500, 503)
"""Statuses with which every endpoint may refuse."""

CHANGES: Final = (403, 404, 409, 413, 504)
"""Statuses with which those may refuse that change something."""

LINES: Final = "application/x-ndjson"
"""Many bodies in one request: one a line, and an answer to each in their order."""

BYTES: Final = "application/octet-stream"

VERSION: Final = "1.0.0"
REF: Final = "#/components/schemas/{name}"


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole description."""
    types = list(_types(endpoints))
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.described_path, {})[one.method.lower()] = _operation(
            one, of, components
        )
    for one in endpoints:  # they are described as parameters
        if one.query is not None:
            components.pop(_name(of[id(one.query)]), None)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Turnstile",
            "version": VERSION,
            "summary": "The tests of a large project, as tickets.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    spelt: dict[str, Any] = spelled(described)
    return spelt


def _types(endpoints: Sequence[Endpoint]) -> Iterator[Any]:
    yield Problem
    yield Id
    yield from WORDS.values()
    for one in endpoints:
        if (answered := _described(one.returns)) is not None:
            yield answered
        yield from (kind for _, kind in one.others)
        if one.query is not None:
            yield one.query
        if one.body is not None:
            yield one.body


def _operation(
    one: Endpoint, of: dict[int, dict[str, Any]], components: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": one.summary,
        "operationId": one.operation,
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "schema": of[id(WORDS.get(name, Id))],
                }
                for name in re.findall(r"{(\w+)}", one.described_path)
            ),
            *(_parameters(of[id(one.query)], components) if one.query is not None else ()),
            *(
                {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
                for name in one.headers
            ),
            *(() if one.method == "GET" or one.scope is None else _HEADERS),
        ],
        "responses": {
            str(one.status): _content(
                "It is done", one.media, _answer(one, of), _example(one, "answer")
            ),
            **{
                str(status): _content(
                    TITLES[status], CONTENT_TYPE, of[id(Problem)], examples.problem(status)
                )
                for status in sorted(
                    {*ALWAYS, *one.problems, *(() if one.is_for_readers else CHANGES)}
                )
            },
            **(_in_ranges(one) if one.ranges else {}),
            **{
                str(status): _content(
                    TITLES[status], CONTENT_TYPE, of[id(kind)], _example(one, str(status))
                )
                for status, kind in one.others
            },
        },
        "security": [{"token": []}, *([{}] if one.is_for_readers else ())],
    }
    if not one.is_for_readers:
        operation["description"] = _needed(one)
    if one.raw is not None:
        body = _content("", BYTES, {"type": "string", "format": "binary"}, "…")
        operation["requestBody"] = {"content": body["content"]}
    if one.body is not None:
        body = _content("", "application/json", of[id(one.body)], _example(one, "body"))
        operation["requestBody"] = {"required": _needs_body(one), "content": body["content"]}
        if one.lines is not None:
            text = {"type": "string"}
            many = examples.LINES.get(one.operation, {})
            body["content"] |= _content("", LINES, text, many.get("body", examples.NONE))["content"]
            operation["responses"]["200"] = _content(
                "An answer a line", LINES, text, many.get("answer", examples.NONE)
            )
    return operation


def _needed(one: Endpoint) -> str:
    """Which token or credential it takes."""
    credential = "the credential of an attempt"
    if one.scope is None:
        return f"Needs {credential}."
    needs = f"Needs a token with the scope `{one.scope}`"
    return f"{needs}, or {credential}." if one.for_attempts else f"{needs}."


_HEADERS: Final = [
    {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    }
    for name, description in (
        ("Idempotency-Key", "The same request under the same key is done once."),
        ("On-Behalf-Of", "Whom the holder of the token asks for; the history names both."),
    )
]


def _in_ranges(one: Endpoint) -> dict[str, Any]:
    """What else may be answered where a part may be asked for."""
    return {
        "206": _content("A part of it", one.media, {"type": "string"}, "…"),
        "304": {"description": "It is what was known"},
    }


def _needs_body(one: Endpoint) -> bool:
    """Whether there is a field that must be there; else nothing is as good as an empty object."""
    if not (isinstance(one.body, type) and issubclass(one.body, msgspec.Struct)):
        return True
    return any(field.required for field in msgspec.structs.fields(one.body))


def _described(returns: Any) -> Any:
    """The type whose schema describes an answer, None for mere text."""
    if get_origin(returns) is Stream:
        return get_args(returns)[0]
    return None if returns is Text else returns


def _answer(one: Endpoint, of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    kind = _described(one.returns)
    if kind is None:
        return {"type": "string"}
    if get_origin(one.returns) is Stream:
        # What stands behind `data:` of each message.
        schema = of[id(kind)]
        return {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": schema,
        }
    return of[id(kind)]


def _example(one: Endpoint, what: str) -> Any:
    return examples.EXAMPLES.get(one.operation, {}).get(what, examples.NONE)


def _parameters(schema: dict[str, Any], components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    struct = components[_name(schema)]
    for name, described in struct["properties"].items():
        yield {
            "name": name,
            "in": "query",
            "required": name in struct.get("required", ()),
            "schema": described,
        }


def _content(description: str, media: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    content = {"schema": schema}
    if example is not examples.NONE:
        content["example"] = example
    return {"description": description, "content": {media: content}}


def _name(schema: dict[str, Any]) -> str:
    """Which component a schema refers to."""
    name: str = schema["$ref"].rpartition("/")[2]
    return name
