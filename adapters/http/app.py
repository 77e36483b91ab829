"""The application: a route for each endpoint, and a problem for whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from adapters.asking import NoAnswer
from adapters.http import problems
from adapters.http.endpoint import (
    ROUTE,
    WORDS,
    Asked,
    Endpoint,
    Lines,
    Nothing,
    Raw,
    argument,
    read_body,
    read_parameter,
    read_query,
)
from adapters.http.gate import Gate
from adapters.http.live.response import Events
from adapters.http.openapi import LINES, document
from domain.errors import TooLarge
from domain.workflow import Id

T = TypeVar("T")

BODY: Final = 1024 * 1024
"""Bytes of a request's body, at most; and of each line where there are many."""

MANY: Final = 16 * BODY
"""Bytes of a body of many lines, at most."""

log = structlog.get_logger()
_encode: Final = msgspec.json.Encoder().encode


def application(
    endpoints: Sequence[Endpoint],
    gate: Gate,
    observing: Callable[[ASGIApp], ASGIApp] | None = None,
) -> Starlette:
    """What serves these endpoints, and describes them at `/v1/openapi.json`."""
    described = _encode(document(endpoints))

    async def describe(request: Request) -> Response:
        request.scope[ROUTE] = "/v1/openapi.json"
        return Response(described, media_type="application/json")

    made = Starlette(
        routes=[
            Route("/v1/openapi.json", describe),
            *(
                Route(path, _one_of(handlers), methods=list(handlers))
                for path, handlers in _by_path(endpoints, gate).items()
            ),
        ],
        middleware=[Middleware(observing)] if observing is not None else [],
        exception_handlers={HTTPException: _refused},
    )
    # A path that is not there is told so, and never where a header says that it would be.
    made.router.redirect_slashes = False
    return made


Handler = Callable[[Request], Awaitable[Response]]


def _by_path(endpoints: Sequence[Endpoint], gate: Gate) -> dict[str, dict[str, Handler]]:
    """Who handles which method of each path."""
    paths: dict[str, dict[str, Handler]] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method] = _handler(one, gate)
    return paths


def _one_of(handlers: dict[str, Handler]) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await handlers["GET" if request.method == "HEAD" else request.method](request)
        except Exception as error:  # whatever it is, the connection serves on
            return await _refused(request, error)

    return handle


def _handler(endpoint: Endpoint, gate: Gate) -> Handler:
    async def handle(request: Request) -> Response:
        request.scope[ROUTE] = endpoint.path
        asked = await gate.admit(request, endpoint)
        query = read_query(request.query_params, endpoint.query or Nothing)
        if endpoint.lines is not None and _media_type(request) == LINES:
            return await _many(request, endpoint.lines, asked)
        given: dict[str, Any] = {
            name: read_parameter(name, value, WORDS.get(name, Id))
            for name, value in request.path_params.items()
        }
        if endpoint.query is not None:
            given["query"] = query
        if endpoint.body is not None:
            given["body"] = read_body(await _body(request, BODY) or b"{}", endpoint.body)
        if endpoint.raw is not None:
            given["body"] = await _raw(request, endpoint.raw)
        for name in endpoint.headers:
            given[argument(name)] = request.headers.get(name)
        if endpoint.for_attempts or not endpoint.is_for_readers:
            given["asked"] = asked
        still = partial(gate.admit, request, endpoint)
        if endpoint.waits:
            given["still"] = still
        answering = endpoint.answer(**given)
        if endpoint.waits:
            answering = _while_asked(request, answering)
        answer = await _awaited(answering)
        if isinstance(answer, Events) and "Authorization" in request.headers:
            answer.still = still
        if isinstance(answer, Response):
            return answer
        return Response(_encode(answer), endpoint.status, media_type="application/json")

    return handle


async def _awaited(answer: Awaitable[T]) -> T:
    """What is answered; who still waits when the server stops hears that nobody has answered."""
    try:
        return await answer
    except asyncio.CancelledError as error:
        raise NoAnswer("the server stops") from error


async def _while_asked(request: Request, answer: Awaitable[T]) -> T:
    """What is answered, unless who has asked goes away before. Raises ClientDisconnect."""
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return await answering
    finally:
        for one in (answering, leaving):
            one.cancel()


async def _many(request: Request, lines: Lines, asked: Asked) -> Response:
    """All lines are here before the first is answered: who sends need not read meanwhile."""
    body = await _body(request, MANY)
    return StreamingResponse(lines(body, asked), media_type=LINES)


def _media_type(request: Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def _body(request: Request, limit: int) -> bytes:
    """What was sent, as long as it is not too much. Raises TooLarge."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > limit:
            raise TooLarge(field="body", size=len(parts), limit=limit)
    return bytes(parts)


async def _raw(request: Request, raw: Raw) -> bytes | AsyncIterator[bytes]:
    """What was sent, as it is. Raises TooLarge, at once where that is known."""
    said = request.headers.get("Content-Length", "")
    if said.isdecimal() and int(said) > raw.limit:
        raise TooLarge(field="body", size=int(said), limit=raw.limit)
    return _parts(request, raw.limit) if raw.streamed else await _body(request, raw.limit)


async def _parts(request: Request, limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(field="body", size=size, limit=limit)
        if part:
            yield part


async def _refused(request: Request, error: Exception) -> Response:
    """A problem for whatever was raised; what is a mistake of ours, the log tells."""
    refusal = problems.of_any(error)
    if refusal.problem.status >= 500:
        mistake = None if isinstance(error, problems.KNOWN) else error
        log.error("request_failed", path=request.url.path, error=str(error), exc_info=mistake)
    return problems.response(refusal.problem, refusal.headers)
