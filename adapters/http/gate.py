"""The gate: who asks is known by a token, and may do what the token's scopes say.

A task that runs has the credential of its attempt instead, which is for that attempt alone.
"""

from typing import Final, Protocol

from starlette.requests import Request

from adapters.access import Identity, Scope
from adapters.credentials import PREFIX, AttemptOf, Credentials
from adapters.http.endpoint import Asked, Endpoint
from adapters.http.problems import Refusal

_REALM: Final = 'Bearer realm="turnstile"'
_KEY: Final = 128
"""Characters of a key, at most."""


class Known(Protocol):
    """Knows whose a token is."""

    async def identity(self, token: str) -> Identity | None:
        """None if it is nobody's, or not any more."""
        ...


class Gate:
    """Lets in who may do what is asked. Without a need of a token, anybody may read."""

    def __init__(
        self, tokens: Known, credentials: Credentials, *, reading_is_public: bool = True
    ) -> None:
        self._tokens = tokens
        self._credentials = credentials
        self._reading_is_public = reading_is_public

    async def admit(self, request: Request, endpoint: Endpoint) -> Asked:
        """Who asks, and under which key. Raises Refusal.

        A token that is wrong is refused even where none is needed: its holder should know.
        """
        given, scope = _given(request), endpoint.scope
        if given is not None and given.startswith(PREFIX):
            return self._attempt(given, request, endpoint)
        identity = await self._identity(given)
        if scope is None:
            raise _unknown("This needs the credential of an attempt: `Authorization: Bearer …`.")
        if identity is None:
            if scope is Scope.READ and self._reading_is_public:
                return Asked("anybody")
            raise _unknown("This needs a token: `Authorization: Bearer …`.")
        if scope is not Scope.READ and scope not in identity.scopes:
            has = ", ".join(sorted(identity.scopes)) or "none"
            raise Refusal(
                403,
                "forbidden",
                f"This needs the scope {scope.value!r}; the token of {identity.name!r} has {has}.",
                "Authorization",
            )
        return Asked(_actor(identity, request), _key(request))

    def _attempt(self, given: str, request: Request, endpoint: Endpoint) -> Asked:
        attempt = self._credentials.read(given)
        if attempt is None:
            raise _unknown("The credential is none of ours.")
        if not endpoint.for_attempts or not _is_of(request, attempt):
            detail = (
                f"The credential is for the attempt with token {attempt.token} of task "
                f"{attempt.task!r} of ticket {attempt.ticket!r}, and for nothing else."
            )
            raise Refusal(403, "forbidden", detail, "Authorization")
        return Asked(f"worker/{attempt.worker}", _key(request), attempt)

    async def _identity(self, token: str | None) -> Identity | None:
        if token is None:
            return None
        identity = await self._tokens.identity(token)
        if identity is None:
            raise _unknown("The token is not known, has expired or was revoked.")
        return identity


def _given(request: Request) -> str | None:
    """The token or credential that came with the request."""
    given = request.headers.get("Authorization")
    if given is None:
        return None
    kind, _, token = given.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise _unknown("Authorization is `Bearer` and a token.")
    return token.strip()


def _is_of(request: Request, attempt: AttemptOf) -> bool:
    """Whether the path is about this attempt, as far as it is about any."""
    own = {"ticket": attempt.ticket, "token": str(attempt.token)}
    return all(own.get(name, value) == value for name, value in request.path_params.items())


def _unknown(detail: str) -> Refusal:
    return Refusal(401, "unauthenticated", detail, "Authorization", {"WWW-Authenticate": _REALM})


def _actor(identity: Identity, request: Request) -> str:
    """The token's name; on whose behalf it asks stands behind it, and never in its place."""
    behalf = request.headers.get("On-Behalf-Of")
    return identity.name if behalf is None else f"{identity.name}:{_line('On-Behalf-Of', behalf)}"


def _key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    return None if key is None else _line("Idempotency-Key", key)


def _line(name: str, value: str) -> str:
    if not 0 < len(value) <= _KEY or not value.isprintable():
        raise Refusal(422, "invalid", f"{name}: it is 1-{_KEY} printable characters.", name)
    return value
