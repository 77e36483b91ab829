"""The application: a route for each endpoint, and a problem for whatever goes wrong."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from adapters.http import problems
from adapters.http.endpoint import ROUTE, Endpoint, argument, read_body, read_parameter, read_query
from adapters.http.openapi import document
from adapters.http.problems import Refusal
from adapters.log import LogError
from domain.errors import Refused, TooLarge
from domain.workflow import Id

BODY: Final = 1024 * 1024
"""Bytes of a request's body, at most."""

log = structlog.get_logger()
_encode: Final = msgspec.json.Encoder().encode


def application(
    endpoints: Sequence[Endpoint], observing: Callable[[ASGIApp], ASGIApp] | None = None
) -> Starlette:
    """What serves these endpoints, and describes them at `/v1/openapi.json`."""
    described = _encode(document(endpoints))

    async def describe(request: Request) -> Response:
        request.scope[ROUTE] = "/v1/openapi.json"
        return Response(described, media_type="application/json")

    return Starlette(
        routes=[
            Route("/v1/openapi.json", describe),
            *(Route(one.path, _handler(one), methods=[one.method]) for one in endpoints),
        ],
        middleware=[Middleware(observing)] if observing is not None else [],
        exception_handlers={
            Refusal: _refusal,
            Refused: _refused,
            LogError: _unavailable,
            HTTPException: _http,
            Exception: _mistake,
        },
    )


def _handler(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        request.scope[ROUTE] = endpoint.path
        given: dict[str, Any] = {
            name: read_parameter(name, value, Id) for name, value in request.path_params.items()
        }
        if endpoint.query is not None:
            given["query"] = read_query(request.query_params, endpoint.query)
        if endpoint.body is not None:
            given["body"] = read_body(await _body(request), endpoint.body)
        for name in endpoint.headers:
            given[argument(name)] = request.headers.get(name)
        answer = await endpoint.answer(**given)
        if isinstance(answer, Response):
            return answer
        return Response(_encode(answer), media_type="application/json")

    return handle


async def _body(request: Request) -> bytes:
    """What was sent, as long as it is not too much. Raises TooLarge."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > BODY:
            raise TooLarge(field="body", size=len(parts), limit=BODY)
    return bytes(parts)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    response = problems.response(error.problem)
    response.headers.update(error.headers)
    return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problems.response(problems.of(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("request_unavailable", path=request.url.path, error=str(error))
    away = "What answers this is away; try again."
    return problems.response(Refusal(503, "unavailable", away).problem)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in problems.TITLES else 400
    response = problems.response(Refusal(status, "http", f"{error.detail}.").problem)
    response.headers.update(error.headers or {})
    return response


async def _mistake(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return problems.response(Refusal(500, "mistake", "The log says more.").problem)
