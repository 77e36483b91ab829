"""An endpoint: what may be asked, what comes back, and who answers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct
from starlette.datastructures import QueryParams

from adapters.access import Scope
from adapters.credentials import AttemptOf
from domain.errors import Invalid
from domain.faults import invalid, lowered
from domain.ticket.commands import Instant
from domain.workflow import Line
from projections.queries import is_on_calendar

T = TypeVar("T")


class Stream(Generic[T]):
    """An answer without an end, of messages whose data is a T."""


class Text:
    """An answer that is text, or a page."""


class Nothing(Struct, frozen=True):
    """The query of what takes none."""


ROUTE: Final = "turnstile.route"
"""Under which a request's scope has the path as its endpoint declares it."""
WORDS: Final[Mapping[str, Any]] = {"name": Line}
"""What parameters of paths may be that are no ids: the name of an artifact has slashes in it."""


class Asked(Struct, frozen=True):
    """Who asks, and the key under which the same request is the same, if there is one.

    Who came with the credential of an attempt asks for that `attempt`.
    """

    actor: str
    key: str | None = None
    attempt: AttemptOf | None = None


class Raw(Struct, frozen=True):
    """A body that is bytes as they are, at most so many; *streamed*, they come as they arrive."""

    limit: int
    streamed: bool = False


Lines = Callable[[bytes, Asked], AsyncIterator[bytes]]
"""Answers the lines of a body, each with one."""


class Endpoint(Struct, frozen=True):
    """One method of one path.

    `path` has its parameters in braces; `query` is a struct of what may follow the question mark,
    `body` the type of what is sent. `problems` are the statuses with which it may be refused,
    beside those that every endpoint has. The `answer` is called with the path's parameters, the
    query and the body, as far as it has them, and with the `headers` that it asks for, None where
    they are missing; where not only readers ask, also with who has `asked`. What is no JSON, whose
    type is `media`, it makes a Response of by itself, and so the `others`: problems that say more,
    by status. Where many of these bodies may come at once, `lines` answers those. What is
    `for_attempts` takes the credential of an attempt too, of the one in its path if there is one;
    without a `scope` it takes nothing else. What `waits` is given up when who has asked goes away;
    whether they may ask still it learns by calling `still`, which raises if not. A body that is
    `raw` it gets as bytes, or as an iterator of them. What answers in `ranges` may answer with a
    part, or with nothing where it is known already; then its headers are those of ranges.
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
    scope: Scope | None = Scope.READ
    for_attempts: bool = False
    waits: bool = False
    status: int = 200
    lines: Lines | None = None
    raw: Raw | None = None
    ranges: bool = False
    name: str = ""

    @property
    def operation(self) -> str:
        """What it is called in the description."""
        return self.name or self.answer.__name__

    @property
    def described_path(self) -> str:
        """Its path as the description has it, which knows no kinds of parameters."""
        return self.path.replace(":path}", "}")

    @property
    def is_for_readers(self) -> bool:
        """Whether whoever may read may ask it."""
        return self.scope is Scope.READ


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
        elif Instant in get_args(fields[name].type):
            given[name] = _instant(name, values[0])
        else:
            given[name] = values[0]
    return converted(given, kind)


def _instant(name: str, text: str) -> datetime:
    """An instant as it is described: a date and a time with an offset, and no number."""
    try:
        found: datetime = msgspec.convert(text, Instant)
    except msgspec.ValidationError as error:
        raise Invalid(field=name, reason=lowered(str(error))) from error
    if not is_on_calendar(found):
        raise Invalid(field=name, reason="in UTC its year is none from 1 to 9999")
    return found


def is_many(type_: Any) -> bool:
    """Whether a parameter may be given several times."""
    return get_origin(type_) is tuple


def read_body(body: bytes, kind: Any) -> Any:
    """What was sent, as this *kind*. Raises Invalid, which names the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(error) from error


def read_parameter(name: str, value: str, kind: Any) -> Any:
    """A parameter of the path. Raises Invalid."""
    return getattr(converted({name: value}, msgspec.defstruct("Path", [(name, kind)])), name)


def converted(given: Any, kind: Any, *, strict: bool = False) -> Any:
    """What was given as this *kind*; unless *strict* text may be a number. Raises Invalid."""
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
