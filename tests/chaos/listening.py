"""Who listens to the live stream from the first ticket to the last, whatever happens to the API."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from adapters.client import Change, Client
from adapters.client.client import ENDINGS
from adapters.client.connection import Connection
from domain.envelope import Recorded

READY = "turnstile.ticket.tasks_ready"


class Counting(Connection):
    """Counts how often a stream was asked for."""

    def __init__(self, url: str) -> None:
        super().__init__(url, None, 30.0)
        self.streams = 0

    @asynccontextmanager
    async def streaming(self, method: str, path: str, **how: Any) -> AsyncIterator[httpx.Response]:
        self.streams += 1
        async with super().streaming(method, path, **how) as answer:
            yield answer


class Heard:
    """The changes that somebody has heard of, and who waits for one."""

    def __init__(self) -> None:
        self.count = 0
        self.connections = 0
        """How often a stream was asked for, or a new client has come."""
        self._told: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._waiting: dict[str, list[tuple[frozenset[str], asyncio.Event]]] = defaultdict(list)
        self._types: dict[str, set[str]] = defaultdict(set)

    def take(self, change: Change) -> None:
        """One more."""
        self.count += 1
        self._told[f"ticket/{change.ticket}"].append((change.version, change.id))
        self._types[change.ticket].add(change.type)
        for types, event in self._waiting.get(change.ticket, ()):
            if change.type in types:
                event.set()

    @property
    def awaited(self) -> list[str]:
        """The tickets of which somebody waits to hear."""
        return [ticket for ticket, waiting in self._waiting.items() if waiting]

    async def of(self, ticket: str, *types: str) -> bool:
        """Wait until a ticket is told of in one of these types; whether it has ended."""
        wanted = frozenset(types) | frozenset(ENDINGS)
        if not wanted & self._types[ticket]:
            waiting = wanted, asyncio.Event()
            self._waiting[ticket].append(waiting)
            await waiting[1].wait()
            self._waiting[ticket].remove(waiting)
        return bool(self._types[ticket] & frozenset(ENDINGS))

    def check(self, events: Mapping[int, list[Recorded]]) -> None:
        """Every event of the log was heard of once, and in the order of its ticket."""
        expected: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for partition in events.values():
            for event in partition:
                expected[event.originator_id].append((event.originator_version, str(event.id)))
        for stream, versions in expected.items():
            told = self._told.get(stream, [])
            assert versions == told, f"{stream} was told otherwise than it is"
        assert expected.keys() == self._told.keys(), "the stream told of what is not in the log"


@asynccontextmanager
async def listening(url: str, heard: Heard) -> AsyncIterator[None]:
    """Listen with one client, as long as the context lasts."""
    async with Client(url) as client:
        await client.connection.close()
        client.connection = counting = Counting(url)
        changes = client.changes()
        await changes.opened()

        async def listen() -> None:
            async for change in changes:
                heard.take(change)

        async with _while(listen()):
            yield
        heard.connections = counting.streams


@asynccontextmanager
async def coming_again(url: str, heard: Heard, chance: random.Random) -> AsyncIterator[None]:
    """Listen with one client after the other: each knows but the last id of the one before."""
    begun = asyncio.Event()

    async def listen() -> None:
        last: str | None = None
        while True:
            async with Client(url) as client, client.changes(after_id=last) as changes:
                await changes.opened()
                begun.set()
                heard.connections += 1
                for _ in range(chance.randint(1, 150)):
                    heard.take(await anext(changes))
                last = changes.last_id

    async with _while(listen()):
        await begun.wait()
        yield


@asynccontextmanager
async def _while(listening: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(listening)
    try:
        yield
        assert not task.done() or task.exception() is None, task.exception()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
