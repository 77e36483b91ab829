"""A server that is asked until it answers, or patience is at its end."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from random import uniform
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from .errors import FOREIGN, KIND, NoAnswer, Problem, Refused, Unavailable

T = TypeVar("T")

PROBLEM: Final = "application/problem+json"
LOCAL: Final = "http://127.0.0.1:8080"
FIRST: Final = 0.05
"""Seconds before the second try; each wait may be twice as long as the one before."""

LONGEST: Final = 5.0
"""Seconds between two tries, at most, unless the server asks for more."""

CONNECTING: Final = 5.0
SILENCE: Final = 30.0
"""Seconds without a word after which a connection is given up."""

LATER: Final = frozenset({502, 503, 504})
"""Statuses that may be others in a moment."""

NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What happens before the server can have heard anything."""

Query = Mapping[str, Any]


class Waits:
    """How long to wait between tries: a little by chance, more each time, until a deadline."""

    def __init__(self, patience: float, longest: float = LONGEST) -> None:
        self.until = monotonic() + patience
        self._patience = patience
        self._longest = longest
        self._next = FIRST

    @property
    def left(self) -> float:
        """Seconds until patience is at its end."""
        return self.until - monotonic()

    def begin_anew(self) -> None:
        """Something was achieved."""
        self.until = monotonic() + self._patience
        self._next = FIRST

    async def wait(self, at_least: float | None = None) -> bool:
        """Wait, if there is time for that and for another try."""
        seconds = max(uniform(self._next / 2, self._next), at_least or 0.0)
        self._next = min(self._next * 2, self._longest)
        if seconds >= self.left:
            return False
        await asyncio.sleep(seconds)
        return True


class Http(httpx.AsyncClient):
    """A connection that was closed as it began has failed, and nothing was sent by it.

    A library below asks such a connection who is at the other end, and falls over the answer.
    """

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        try:
            return await super().send(request, **how)
        except AttributeError as error:
            if error.name not in _NAMES:
                raise
            raise httpx.ConnectError(_CLOSED, request=request) from error
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            raise httpx.ConnectError(_CLOSED, request=request) from error


_NAMES: Final = ("getpeername", "getsockname")
_CLOSED: Final = "the connection was closed as it began"


class Connection:
    """What asks one server, with one token."""

    def __init__(self, base_url: str | None, token: str | None, patience: float) -> None:
        self.url = (base_url or os.environ.get("TURNSTILE_URL") or LOCAL).rstrip("/")
        self.patience = patience
        token = token or os.environ.get("TURNSTILE_TOKEN") or ""
        headers = {"accept": f"application/json, {PROBLEM}"}
        if token.strip():
            headers["authorization"] = f"Bearer {token.strip()}"
        self._http = Http(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(SILENCE, connect=CONNECTING),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query | None = None,
        body: bytes | None = None,
        key: UUID | None = None,
        held: float = 0.0,
        longest: float = LONGEST,
    ) -> T:
        """The answer, as this *kind*. A change names its *key*, which each try repeats.

        The server may take *held* seconds more for it than for others. Between two tries there are
        *longest* seconds, at most.

        Raises Refused, Unavailable, NoAnswer.
        """
        waits, heard = Waits(self.patience + held, longest), False
        timeout = httpx.Timeout(SILENCE + held, connect=CONNECTING)
        reason = "there was no time to ask"
        while True:
            at_least = None
            try:
                async with asyncio.timeout(max(0.0, waits.left)):
                    answer = await self._http.request(
                        method,
                        path,
                        params=_text(query),
                        content=body,
                        headers=_headers(body, key),
                        timeout=timeout,
                    )
                if answer.is_success:
                    return _decoded(answer, kind, key)
                refused = refusal(answer)
                if answer.status_code not in LATER:
                    raise refused
                heard = heard or answer.status_code != 503
                reason, at_least = str(refused), refused.retry_after
            except NOT_SENT as error:
                reason = _said(error)
            except (httpx.TransportError, TimeoutError) as error:
                heard, reason = True, _said(error)
            if not await waits.wait(at_least):
                kind_of = NoAnswer if heard and key is not None else Unavailable
                raise kind_of(f"{self.url}: no answer in {self.patience:g} s: {reason}", key)

    @asynccontextmanager
    async def streaming(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float = SILENCE,
    ) -> AsyncIterator[httpx.Response]:
        """An answer that comes in parts; asked for once. Raises Refused, httpx.TransportError."""
        async with self._http.stream(
            method,
            path,
            params=_text(query),
            content=body,
            headers=headers,
            timeout=httpx.Timeout(silence, connect=CONNECTING),
        ) as answer:
            if not answer.is_success:
                await answer.aread()
                raise refusal(answer)
            yield answer


def path(*parts: str) -> str:
    """The path of these parts, whatever signs are in them."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


async def lines(answer: httpx.Response) -> AsyncGenerator[bytes]:
    """The lines of an answer. Others take some signs inside JSON for the end of a line."""
    rest = bytearray()
    async for part in answer.aiter_bytes():
        rest += part
        if b"\n" in part:
            *whole, last = rest.split(b"\n")
            for line in whole:
                yield bytes(line.removesuffix(b"\r"))
            rest = last


def refusal(answer: httpx.Response) -> Refused:
    """Why an answer is none."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except (msgspec.MsgspecError, ValueError):
        problem = _untold(answer)
    after = answer.headers.get("retry-after", "")
    return Refused.by(problem, float(after) if after.isdecimal() else None)


def _untold(answer: httpx.Response) -> Problem:
    """What an answer means that does not say it: one to HEAD, or one of somebody else's."""
    title, url = answer.reason_phrase or "Refused", answer.request.url
    said = f"answered {answer.status_code} {title}"
    if answer.headers.get("content-type", "").startswith(PROBLEM):
        return Problem(f"{KIND}http", title, answer.status_code, f"{url} {said}.")
    detail = f"{url.scheme}://{url.netloc.decode()} does not answer as Turnstile does: it {said}"
    return Problem(f"{KIND}{FOREIGN}", title, answer.status_code, detail)


def _decoded(answer: httpx.Response, kind: type[T], key: UUID | None) -> T:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NoAnswer(
            f"{answer.request.url} gave no answer of Turnstile's: {error}", key
        ) from error


def _headers(body: bytes | None, key: UUID | None) -> dict[str, str]:
    headers = {} if body is None else {"content-type": "application/json"}
    return headers if key is None else headers | {"idempotency-key": str(key)}


def _text(query: Query | None) -> httpx.QueryParams:
    """Parameters as the server reads them; what is None was not given."""
    return httpx.QueryParams(
        [
            (name, each.isoformat() if isinstance(each, datetime) else str(each))
            for name, value in (query or {}).items()
            if value is not None
            for each in ((value,) if isinstance(value, str | int | datetime) else value)
        ]
    )


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return str(error) or "it takes too long"
    return str(error) or type(error).__name__
