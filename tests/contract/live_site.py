"""A whole site of one's own on any log: engine, projector, and APIs that come and go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from adapters.asking import Asker, asking
from adapters.codec import Codec
from adapters.config import Config
from adapters.http.live.hub import BOUND
from adapters.http.live.opening import Live
from adapters.log import Log
from adapters.postgres.connection import Address
from adapters.postgres.dead import open_dead as postgres_dead
from adapters.postgres.views.history import open_history
from adapters.postgres.views.leases import open_leases
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import PostgresView, address_of
from adapters.postgres.views.workers import open_workers
from adapters.token_file import kept
from domain.kinds import DECIDERS
from tests.contract.places import Place, PostgresPlace
from tests.contract.test_projector import engine_on, genesis_of
from workers.api import Api
from workers.progress import Progress
from workers.projector import Projector
from workers.web import Places, open_web

CODEC = Codec(DECIDERS)
LEASE = 0.6


class Heard(Struct):
    """A message of the stream; an id alone has no type."""

    id: str = ""
    type: str = ""
    data: Any = None


class Site:
    """The log, who asks it, and where its views are."""

    def __init__(self, log: Log, asker: Asker, address: Address, place: Place) -> None:
        self.log = log
        self.asker = asker
        self.views = address_of(address, "tickets")
        self.workers = address_of(address, "workers")
        self.has_archive = not isinstance(place, PostgresPlace)
        self.archive = address_of(address, "history") if self.has_archive else address
        self.address = address
        self.token = ""

    async def opened(self) -> Sequence[PostgresView]:
        genesis = await genesis_of(self.log)
        views = [
            await open_tickets(self.views, genesis, lease=LEASE),
            await open_leases(address_of(self.address, "leases"), genesis, lease=LEASE),
            await open_workers(self.workers, genesis, lease=LEASE),
        ]
        if self.has_archive:
            views.append(await open_history(self.archive, genesis, CODEC, lease=LEASE))
        return views

    @asynccontextmanager
    async def projecting(self) -> AsyncIterator[None]:
        projector = Projector("projector", self.log, await self.opened())
        task = asyncio.create_task(projector.run())
        try:
            yield
        finally:
            projector.stop()
            await task

    @asynccontextmanager
    async def api(self, streams: int = 1_000, bound: int = BOUND) -> AsyncIterator["Served"]:
        """An API, as the composition root has it."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            data = stack.enter_context(TemporaryDirectory())
            web = await enter(
                open_web(
                    Config(data=data, streams=streams),
                    self.log,
                    CODEC,
                    postgres_dead(self.archive, self.log, CODEC),
                    Places(
                        *(self.address, self.views, self.workers, self.archive),
                        access=address_of(self.address, "access"),
                        logs=address_of(self.address, "logs"),
                    ),
                    Progress(self.log, await self.opened()),
                    bound=bound,
                )
            )
            self.token = kept(data) or self.token  # the first API makes one
            api = Api(web, "127.0.0.1:0")
            serving = asyncio.create_task(api.run())
            async with asyncio.timeout(10):
                while not api.listens:
                    await asyncio.sleep(0.005)
            client = await enter(httpx.AsyncClient(base_url=f"http://{api.address}", timeout=20))
            try:
                assert web.live is not None
                yield Served(api, client, web.live, self.token)
            finally:
                api.stop()
                await serving


class Served:
    """An API that serves."""

    def __init__(self, api: Api, client: httpx.AsyncClient, live: Live, token: str) -> None:
        self.api = api
        self.client = client
        self.live = live
        self.token = token
        self.url = f"http://{api.address}"
        self.port = int(api.address.rpartition(":")[2])

    @asynccontextmanager
    async def listening(self, last: str | None = None, **query: Any) -> AsyncIterator["Listening"]:
        """A stream that has begun."""
        headers = {"Last-Event-ID": last} if last else {}
        async with self.client.stream(
            "GET", "/v1/stream", params=query, headers=headers
        ) as response:
            assert 200 == response.status_code, (await response.aread()).decode()
            yield Listening(response)


class Listening:
    """Reads a stream, and remembers the last id."""

    def __init__(self, response: httpx.Response) -> None:
        self.id = ""
        self.comments: list[str] = []
        self._messages = self._read(response)

    async def _read(self, response: httpx.Response) -> AsyncIterator[Heard]:
        heard = Heard()
        async with aclosing(response.aiter_lines()) as lines:  # type: ignore[type-var]
            async for line in lines:
                name, _, value = line.partition(": ")
                match name:
                    case "id":
                        heard.id = value
                    case "event":
                        heard.type = value
                    case "data":
                        heard.data = msgspec.json.decode(value)
                    case "":
                        if value:
                            self.comments.append(value)
                        if heard.id:
                            self.id = heard.id
                            yield heard
                        heard = Heard()

    async def begun(self) -> str:
        """Where it begins."""
        return (await anext(self._messages)).id

    async def next(self) -> Heard:
        """The next change."""
        async with asyncio.timeout(20):
            while True:
                heard = await anext(self._messages)
                if heard.type:
                    return heard

    async def take(self, number: int) -> list[Heard]:
        """So many changes."""
        return [await self.next() for _ in range(number)]

    async def rest(self) -> list[Heard]:
        """Every change until the stream ends."""
        async with asyncio.timeout(20):
            return [heard async for heard in self._messages if heard.type]


@asynccontextmanager
async def site(place: Place, address: Address, partitions: int = 3) -> AsyncIterator[Site]:
    """Engine and projector at work."""
    async with (
        place.open(partitions, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
    ):
        here = Site(log, asker, address, place)
        async with here.projecting():
            yield here
