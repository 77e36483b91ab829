"""An API notes that it takes heartbeats in, for exactly as long as it does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from adapters.client import WorkerClient
from adapters.log import Unavailable
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.views.view import address_of
from tests.service.real_api import real
from workers import hearing
from workers.hearing import hear

pytestmark = pytest.mark.service


class Notes:
    """When it was noted last."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def last(self) -> datetime:
        found = await self._pool.fetchval("SELECT at FROM hearing")
        assert isinstance(found, datetime)
        return found

    async def next(self) -> datetime:
        """Wait for another one."""
        before = await self.last()
        async with asyncio.timeout(20):
            while await self.last() == before:
                await asyncio.sleep(0.02)
        return await self.last()


@asynccontextmanager
async def notes(address: Address) -> AsyncIterator[Notes]:
    async with open_pool(address_of(address, "leases"), 1) as pool:
        yield Notes(pool)


async def test_an_api_notes_that_it_hears_as_long_as_it_serves(
    address: Address, tmp_path: Path
) -> None:
    async with notes(address) as noted:
        async with real(address, tmp_path):
            assert await noted.next() < await noted.next()
        last = await noted.last()
        assert [] == [
            one for one in asyncio.all_tasks() if getattr(one.get_coro(), "__name__", "") == "hear"
        ]
        assert last == await noted.last()


async def test_what_cannot_be_noted_is_noted_when_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "EACH", 0.001)
    noted = asyncio.Event()
    troubles: list[Exception] = [ValueError("no such table"), Unavailable("it is away")]

    async def note() -> None:
        if troubles:
            raise troubles.pop()
        noted.set()

    with capture_logs() as said:
        running = asyncio.create_task(hear(note))
        async with asyncio.timeout(10):
            await noted.wait()
        running.cancel()
    assert ["not_hearing", "not_hearing"] == [one["event"] for one in said]


async def test_a_runner_that_registers_has_been_heard_of(address: Address, tmp_path: Path) -> None:
    async with real(address, tmp_path) as api, open_pool(address_of(address, "leases"), 1) as pool:
        host, port = api.address
        async with WorkerClient(
            f"http://{host}:{port}", api.token, worker="w1", session="s1"
        ) as runner:
            await runner.register("rack-2")
            await pool.execute("UPDATE heard SET at = '-infinity'")
            await runner.register("rack-2")  # which changes nothing else
        [heard] = await pool.fetch("SELECT worker, session, at > '-infinity' FROM heard")
        assert ("w1", "s1", True) == tuple(heard)
