"""How a request is refused: problem details (RFC 9457), a stable type and the field at fault."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct
from starlette.responses import Response

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
    404: "There is no such thing",
    405: "This cannot be done here",
    409: "The state does not permit it",
    413: "It is too large",
    422: "The request is wrong",
    429: "Too many at once",
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
    """The request is refused with a problem."""

    def __init__(
        self,
        status: int,
        type_: str,
        detail: str,
        field: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = headers or {}
        self.problem = Problem(f"{BASE}{type_}", TITLES[status], status, detail, field)


def of(refused: Refused) -> Problem:
    """The problem that a refusal of the domain is."""
    status = next((status for kind, status in STATUS if isinstance(refused, kind)), 409)
    return Problem(f"{BASE}{refused.type}", TITLES[status], status, str(refused), refused.field)


def response(problem: Problem) -> Response:
    """The problem as an answer."""
    return Response(msgspec.json.encode(problem), problem.status, media_type=CONTENT_TYPE)
