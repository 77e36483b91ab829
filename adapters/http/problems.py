"""How a request is refused: problem details (RFC 9457), a stable type and the field at fault."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from adapters.asking import NoAnswer
from adapters.log import LogError
from domain import envelope
from domain.errors import Conflict, Invalid, Missing, Refused, TooLarge

CONTENT_TYPE: Final = "application/problem+json"
BASE: Final = "urn:turnstile:problem:"
"""What the types begin with; what follows is the refusal's own, as in a command's answer."""

STATUS: Final[tuple[tuple[type[Refused], int], ...]] = (
    (TooLarge, 413),
    (Invalid, 422),
    (Missing, 404),
    (Conflict, 409),
)

TITLES: Final = {
    400: "The request cannot be read",
    401: "Nobody knows who asks",
    403: "The token is not for this",
    404: "There is no such thing",
    405: "This cannot be done here",
    408: "It comes too slowly",
    409: "The state does not permit it",
    413: "It is too large",
    416: "There is no such part",
    422: "The request is wrong",
    429: "Too many at once",
    431: "What stands before its body is too large",
    500: "A mistake of ours",
    503: "Not now",
    504: "It takes too long",
}


class Problem(Struct, frozen=True, omit_defaults=True):
    """Why a request was refused.

    `type` is stable, `detail` a sentence for people, `field` what of the request is at fault.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


class Refusal(Exception):
    """The request is refused with a problem; `headers` go with it."""

    def __init__(
        self,
        status: int,
        type_: str,
        detail: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = headers or {}
        self.problem = Problem(f"{BASE}{type_}", TITLES[status], status, detail, field)


def of(refused: Refused) -> Refusal:
    """What a refusal of the domain is over HTTP."""
    return Refusal(_status(type(refused)), refused.type, str(refused), refused.field)


def of_answer(refusal: envelope.Refusal) -> Refusal:
    """What an engine's refusal of a command is over HTTP."""
    return Refusal(_STATUS.get(refusal.type, 409), refusal.type, refusal.detail, refusal.field)


KNOWN: Final = (Refusal, Refused, NoAnswer, LogError)
"""What is raised in the course of things."""


def of_any(error: Exception) -> Refusal:
    """What any error is over HTTP. A mistake of ours is told to the log, and not to who asked."""
    match error:
        case Refusal():
            return error
        case Refused():
            return of(error)
        case NoAnswer():
            return Refusal(504, "no-answer", _NO_ANSWER)
        case ClientDisconnect():
            return Refusal(400, "gone", "The request ended before it was all there.")
        case LogError():
            return Refusal(503, "unavailable", "What answers this is away; try again.")
        case HTTPException(status_code=status) if status in TITLES:
            return Refusal(status, "http", f"{error.detail}.", headers=error.headers)
        case HTTPException():
            return Refusal(400, "http", f"{error.detail}.")
        case _:
            return Refusal(500, "mistake", "The log says more.")


_NO_ANSWER: Final = (
    "No engine has answered in time. What was asked may still be done: ask again with the same "
    "Idempotency-Key, and it is done once."
)


def response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as an answer."""
    return Response(msgspec.json.encode(problem), problem.status, headers, CONTENT_TYPE)


def _status(kind: type[Refused]) -> int:
    return next((status for above, status in STATUS if issubclass(kind, above)), 409)


def _kinds(kind: type[Refused]) -> Iterator[type[Refused]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


UNFIT: Final = "unfit"
"""The type of an engine's refusal of a command that it has put aside."""

_STATUS: Final = {kind.type: _status(kind) for kind in _kinds(Refused)} | {UNFIT: 422}
