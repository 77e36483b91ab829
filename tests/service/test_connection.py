"""Connections of the API, over raw sockets: what is no request, and what does not come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import structlog.testing
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.access import Identity
from adapters.credentials import Credentials
from adapters.http import connection
from adapters.http.app import application
from adapters.http.endpoint import Endpoint
from adapters.http.gate import Gate
from adapters.http.live.response import CHUNK
from adapters.http.progress import Health
from adapters.http.ranges import Downloads, Ranged
from tests.service.contract_api import serving
from workers.api import Api
from workers.web import Web

pytestmark = pytest.mark.service

POST = b"POST /v1/said HTTP/1.1\r\nHost: x\r\n"


class Said(Struct):
    """A body that may be anything."""

    text: str


class Nobody:
    """Knows no token."""

    async def identity(self, token: str) -> Identity | None:
        return None


async def said(body: Said) -> Health:
    return Health(alive=True)


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    endpoints = [Endpoint("POST", "/v1/said", "", Health, said, body=Said)]
    api = Api(Web(application(endpoints, Gate(Nobody(), Credentials(bytes(32))))), "127.0.0.1:0")
    with structlog.testing.capture_logs():
        serving = asyncio.create_task(api.run())
        async with asyncio.timeout(10):
            while not api.listens:
                await asyncio.sleep(0)
        yield api
        api.stop()
        await serving


async def connected(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = api.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def sent(api: Api, *parts: bytes) -> bytes:
    """All that is answered to this, until the server ends the connection."""
    reader, writer = await connected(api)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def problem(answer: bytes) -> tuple[int, str]:
    """Status and type of the problem that an answer is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    told: dict[str, Any] = msgspec.json.decode(body)
    assert head.startswith(b"HTTP/1.1 %d " % told["status"])
    return told["status"], told["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/said HTTP/3.7\r\nHost: x\r\n\r\n",
        b"GET /v1/a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_with_a_problem(api: Api, rubbish: bytes) -> None:
    assert (400, "http") == problem(await sent(api, rubbish))


async def test_a_head_without_an_end_is_refused(api: Api) -> None:
    reader, writer = await connected(api)
    writer.write(POST + b"X: ")
    answer = b""
    with suppress(ConnectionError):  # the answer is lost where more was on its way
        refused = asyncio.create_task(reader.read())
        async with asyncio.timeout(10):
            while not refused.done():
                writer.write(b"x" * 4096)
                await writer.drain()
        answer = await refused
    writer.close()
    assert not answer or (431, "head-too-large") == problem(answer)


@pytest.mark.parametrize(
    "beginning",
    [
        b"POST /v1/sa",
        POST + b"X: y\r\n",
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
async def test_a_request_that_does_not_come_is_given_up(
    api: Api, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    assert (408, "too-slow") == problem(await sent(api, beginning))


async def test_a_connection_that_says_nothing_is_ended(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    assert b"" == await sent(api)


async def test_a_body_that_breaks_off_is_no_mistake_of_ours(api: Api) -> None:
    with structlog.testing.capture_logs() as logs:
        _, writer = await connected(api)
        writer.write(POST + b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        body = b'{"text": "a"}'
        whole = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        assert (await sent(api, whole)).startswith(b"HTTP/1.1 200 ")
    assert [] == [one for one in logs if one["event"] == "request_failed"]


async def test_requests_in_one_piece_are_answered_in_their_order(api: Api) -> None:
    one = POST + b"Content-Length: %d\r\n\r\n%b"
    bodies = [b'{"text": "%d"}' % n if n % 2 else b"{}" for n in range(300)]
    pieces = b"".join(one % (len(body), body) for body in bodies)
    answer = await sent(api, pieces + POST + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
    found = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert [200 if n % 2 else 422 for n in range(300)] == found[:-1]


async def test_a_large_body_may_take_long_as_long_as_it_comes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A little each time it is looked at, which is far more than once."""
    monkeypatch.setattr(connection, "PATIENCE", 0.05)
    monkeypatch.setattr(connection, "PACE", 1)
    body = b'{"text": "a"}'
    looked = 0
    late = connection.Connection._late

    def looking(self: connection.Connection) -> None:
        nonlocal looked
        looked += 1
        late(self)
        writer.write(body[looked : looked + 1])

    monkeypatch.setattr(connection.Connection, "_late", looking)
    reader, writer = await connected(api)
    head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head + body[:1])
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    assert looked == len(body) - 1
    writer.close()


async def test_for_who_hangs_up_no_more_is_read() -> None:
    downloads, ended = Downloads(1), asyncio.Event()

    async def read(start: int, end: int) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield bytes(CHUNK)
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def large(request: Request) -> Response:
        return Ranged(downloads, read, 2**40, '"tag"', "text/plain")

    async with serving(Starlette(routes=[Route("/", large)])) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()
        async with asyncio.timeout(5):
            await ended.wait()
    downloads.admit()
