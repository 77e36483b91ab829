"""Attempts at work at the real API, and who asks for what they say and leave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from adapters.client import AttemptClient, Client, Opening
from adapters.client.workflow import Run, Subject, TaskSpec
from adapters.postgres.connection import Address
from adapters.postgres.leases import Leases, leasing
from domain.ticket.words import Artifact
from tests.service.real_api import RealApi, real

LIMIT = 1_000_000
SUBJECT = Subject("commit", "tower", "main", "c0ffee")


class Site:
    """The API, and who asks it."""

    def __init__(
        self, api: RealApi, people: Client, anybody: httpx.AsyncClient, leases: Leases
    ) -> None:
        self.api = api
        self.people = people
        self.anybody = anybody
        self._leases = leases

    @asynccontextmanager
    async def attempt(self, task: str = "A") -> AsyncIterator["Attempt"]:
        """An attempt at work."""
        token, credential = await self.api.attempt("t", task)
        async with asyncio.timeout(10):
            while not await self._leases.present("t", token):
                await asyncio.sleep(0.01)
        async with AttemptClient(self.api.url, credential, "t", token, patience=5) as own:
            yield Attempt(token, credential, own, f"/v1/tickets/t/attempts/{token}/log")

    async def reported(self, attempt: "Attempt", *artifacts: Artifact) -> None:
        """It has ended, and the views know."""
        version = await self.api.report("t", "A", attempt.token, *artifacts)
        await self.claimed(attempt)
        async with asyncio.timeout(10):
            while (await self.people.ticket("t")).version < version:
                await asyncio.sleep(0.01)

    async def claimed(self, attempt: "Attempt") -> None:
        """The views know of the attempt."""
        async with asyncio.timeout(10):
            while (await self.anybody.get(attempt.log)).status_code == 404:
                await asyncio.sleep(0.01)


class Attempt(NamedTuple):
    token: int
    credential: str
    own: AttemptClient
    log: str


@asynccontextmanager
async def at_work(address: Address, folder: Path, **others: Any) -> AsyncIterator[Site]:
    """An API, and a ticket of three tasks, of which two say how long their logs may be."""
    settings = {"log_limit": LIMIT, "artifact_limit": LIMIT, "log_most": 2 * LIMIT} | others
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(real(address, folder, **settings))
        people = await stack.enter_async_context(Client(api.url, api.token))
        anybody = await stack.enter_async_context(httpx.AsyncClient(base_url=api.url))
        leases = await stack.enter_async_context(leasing(address, 1))
        brief, boundless = ({"log_limit": limit} for limit in (10, 2**50))
        specs = (
            TaskSpec("A", Run("shell")),
            TaskSpec("brief", Run("shell", brief)),
            TaskSpec("boundless", Run("shell", boundless)),
        )
        await people.open(Opening(id="t", subject=SUBJECT, tasks=specs))
        yield Site(api, people, anybody, leases)
