"""An endpoint: what may be asked, what comes back, and who answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar, get_origin

import msgspec
from msgspec import Struct
from starlette.datastructures import QueryParams

from domain.errors import Invalid

T = TypeVar("T")


class Stream(Generic[T]):
    """An answer without an end, of messages whose data is a T."""


class Text:
    """An answer that is text, or a page."""


ROUTE: Final = "turnstile.route"
"""Under which a request's scope has the path as its endpoint declares it."""


class Endpoint(Struct, frozen=True):
    """One method of one path.

    `path` has its parameters in braces; `query` is a struct of what may follow the question mark,
    `body` the type of what is sent. `problems` are the statuses with which it may be refused,
    beside those that every endpoint has. The `answer` is called with the path's parameters, the
    query and the body, as far as it has them, and with the `headers` that it asks for, None where
    they are missing. What is no JSON, whose type is `media`, it makes a Response of by itself, and
    so the `others`: problems that say more, by status.
    """

    method: str
    path: str
    summary: str
    returns: Any
    answer: Callable[..., Awaitable[Any]]
    query: type[Struct] | None = None
    body: Any = None
    problems: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    media: str = "application/json"
    others: tuple[tuple[int, Any], ...] = ()


def argument(header: str) -> str:
    """The name under which an answer gets a header."""
    return header.replace("-", "_").lower()


def read_query(params: QueryParams, kind: type[Struct]) -> Any:
    """The query as a struct of this *kind*. Raises Invalid, which names the parameter."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    given: dict[str, Any] = {}
    for name in params:
        if name not in fields:
            known = ", ".join(sorted(fields)) or "none"
            raise Invalid(field=name, reason=f"there is no such parameter; there are {known}")
        values = params.getlist(name)
        if is_many(fields[name].type):
            given[name] = values
        elif len(values) > 1:
            raise Invalid(field=name, reason="it is there more than once")
        else:
            given[name] = values[0]
    return _converted(given, kind)


def is_many(type_: Any) -> bool:
    """Whether a parameter may be given several times."""
    return get_origin(type_) is tuple


def read_body(body: bytes, kind: Any) -> Any:
    """What was sent, as this *kind*. Raises Invalid, which names the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(error) from error


def read_parameter(name: str, value: str, kind: Any) -> Any:
    """A parameter of the path. Raises Invalid."""
    return _converted({name: value}, msgspec.defstruct("Path", [(name, kind)]), name)


def _converted(given: dict[str, Any], kind: Any, only: str | None = None) -> Any:
    try:
        converted = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    return converted if only is None else getattr(converted, only)


def _invalid(error: Exception) -> Invalid:
    """What msgspec says, with the field apart."""
    reason, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".") or "body"
    return Invalid(field=field, reason=_lowered(reason))


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
