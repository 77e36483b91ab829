"""The HTTP API, in this process: what it takes to ask it, client and all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import httpx
from msgspec.structs import replace

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
