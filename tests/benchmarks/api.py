"""The HTTP API: in this process, for what it takes to ask it, client and all; or in its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import httpx
from msgspec import Struct
from msgspec.structs import replace

from adapters.token_file import kept
from tests.benchmarks.engines import EngineEnded
from tests.benchmarks.system import System
from workers.compose import Service, assemble, views_of


@asynccontextmanager
async def reading(system: System) -> AsyncIterator[Service]:
    """The same service, with its views, to be asked."""
    config = replace(system.service.config, http="127.0.0.1:0")
    async with assemble(config, views=views_of(config), http=True) as service:
        yield service


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its API, which serves as long as the context lasts."""
    api = service.api()
    serving = asyncio.create_task(api.run())
    while api.address.endswith(":0"):
        await asyncio.sleep(0.01)
    async with httpx.AsyncClient(base_url=f"http://{api.address}", timeout=60) as client:
        yield client
    api.stop()
    await serving


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """What is answered. Raises HTTPStatusError."""
    response = await client.get(path, params=query)
    response.raise_for_status()
    return response.json()


async def seconds(ask: Callable[[], Awaitable[object]]) -> float:
    """How long it takes."""
    began = perf_counter()
    await ask()
    return perf_counter() - began


class Served(Struct, frozen=True):
    """Where a process of the role `api` is asked, and the token that may do everything."""

    url: str
    token: str


PATIENCE = 60.0
"""Seconds in which it is to listen."""


async def served(system: System) -> Served:
    """Where the system's own API listens, as soon as it does. Raises EngineEnded if it does not."""
    log = system.folder / "api-0.log"
    until = perf_counter() + PATIENCE
    while perf_counter() < until:
        for line in log.read_bytes().splitlines():
            token = kept(system.environment["TURNSTILE_DATA"])
            if b'"api_listens"' in line and token is not None:
                return Served(f"http://{json.loads(line)['address']}", token)
        await asyncio.sleep(0.02)
    raise EngineEnded("\n".join(("the API does not listen:", log.read_text()[-4_000:])))
