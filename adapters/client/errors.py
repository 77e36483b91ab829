"""What can go wrong.

TurnstileError
├── Refused               the request was refused, and the same again would be: `problem` says why
│   ├── Invalid           it is wrong: `problem.field` is at fault
│   │   └── TooLarge
│   ├── Unauthenticated   there is no token, or none that is known
│   ├── Forbidden         the token's scopes do not reach so far
│   ├── NotFound
│   ├── Conflict          the request is right, the state is not (any more)
│   └── TooMany           not now: `retry_after` seconds from now
└── Unanswered            nobody has answered in time; with the same `key`, ask again
    ├── Unavailable       nobody has taken the request
    └── NoAnswer          what has become of the request is not known
"""

from typing import Final, Self
from uuid import UUID

from msgspec import Struct

KIND: Final = "urn:turnstile:problem:"

FOREIGN: Final = "foreign"
"""The kind of an answer of something else, before Turnstile or in its place."""


class Problem(Struct, frozen=True, omit_defaults=True):
    """Why a request was refused (RFC 9457).

    `type` is stable, `detail` a sentence for people, `field` what of the request is at fault.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None

    @property
    def kind(self) -> str:
        """The last word of the type: `invalid`, `different-body`, `ended`, `too-late` …"""
        return self.type.removeprefix(KIND)


class TurnstileError(Exception):
    """Whatever this package raises of itself."""


class Refused(TurnstileError):
    """The request was refused."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        field, detail = problem.field, problem.detail
        named = detail if field is None or field in detail else f"{field}: {detail}"
        super().__init__(f"{named} ({problem.kind})")
        self.problem = problem
        self.retry_after = retry_after

    @classmethod
    def by(cls, problem: Problem, retry_after: float | None = None) -> "Refused":
        """The refusal that a problem is."""
        return REFUSALS.get(problem.status, Refused)(problem, retry_after)

    def __reduce__(self) -> tuple[type[Self], tuple[Problem, float | None]]:
        return type(self), (self.problem, self.retry_after)


class Invalid(Refused):
    """The request is wrong."""


class TooLarge(Invalid):
    """The request is too large."""


class Unauthenticated(Refused):
    """There is no token, or none that is known."""


class Forbidden(Refused):
    """The token's scopes do not reach so far."""


class NotFound(Refused):
    """There is no such thing."""


class Conflict(Refused):
    """The state does not permit it."""


class TooMany(Refused):
    """There are too many at a time."""


class Unanswered(TurnstileError):
    """Nobody has answered in time. `key` is the command's id: with it, the same can be asked."""

    def __init__(self, reason: str, key: UUID | None = None) -> None:
        super().__init__(reason)
        self.key = key

    def __reduce__(self) -> tuple[type[Self], tuple[str, UUID | None]]:
        return type(self), (str(self), self.key)


class Unavailable(Unanswered):
    """Nobody has taken the request."""


class NoAnswer(Unanswered):
    """What has become of the request is not known."""


REFUSALS: Final[dict[int, type[Refused]]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Invalid,
    429: TooMany,
}
