"""How far the views are, while something is measured."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from adapters.postgres.connection import Address, Bell, close, connect, open_pool
from adapters.postgres.views.positions import Positions
from adapters.postgres.views.view import address_of
from tests.benchmarks.tickets import Seen

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection
    from tests.benchmarks.system import System

_SEEN: Final = "SELECT sum(sequence)::bigint FROM partitions"

LOOK: Final = 0.05
"""Seconds between two looks."""

PATIENCE: Final = 60.0


class ViewsBehind(Exception):
    """The views do not have what the log has."""


class Watch:
    """Looks at how many events the views have folded; `seen` is when it saw how many."""

    def __init__(self, connection: "Connection") -> None:
        self.seen: list[tuple[float, int]] = []
        self._connection = connection
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            count = await self._connection.fetchval(_SEEN)
            self.seen.append((perf_counter(), count))
            await asyncio.sleep(LOOK)

    async def until(self, events: int) -> None:
        """Wait for so many. Raises ViewsBehind."""
        deadline = perf_counter() + PATIENCE
        while not self.seen or self.seen[-1][1] < events:
            if self._task.done():
                self._task.result()
            if perf_counter() > deadline:
                raise ViewsBehind(f"{self.seen[-1][1]} of {events} events")
            await asyncio.sleep(LOOK)

    def rate(self, began: float, ended: float) -> float:
        """Events a second that became visible between two moments."""
        within = [one for one in self.seen if began <= one[0] <= ended]
        if len(within) < 2:
            return 0.0
        (first, before), (last, after) = within[0], within[-1]
        return (after - before) / (last - first)

    def at(self, moment: float) -> int:
        """How many events were visible at a moment."""
        return max((count for when, count in self.seen if when <= moment), default=0)

    async def stop(self) -> None:
        """Look no more."""
        self._task.cancel()
        await asyncio.wait({self._task})


@asynccontextmanager
async def watching(address: Address) -> AsyncIterator[Watch]:
    """A watch over the views of a log at an address."""
    connection = await connect(address_of(address, "tickets"))
    while await connection.fetchval("SELECT to_regclass('partitions')") is None:
        await asyncio.sleep(LOOK)  # a projector is about to make it
    watch = Watch(connection)
    try:
        yield watch
    finally:
        await watch.stop()
        await close(connection)


@asynccontextmanager
async def seeing(system: "System") -> AsyncIterator[Seen | None]:
    """What waits for the views, as an API does; nothing without a projector."""
    if system.views is None:
        yield None
        return
    at = address_of(system.views, "tickets")
    async with watching(system.views), open_pool(at, 1) as pool:
        positions = Positions([pool])
        await positions.look()
        bell = Bell(at)
        working = [
            asyncio.create_task(work)
            for work in (bell.run(asyncio.Event()), positions.run(bell, [at.channel("views")]))
        ]
        try:
            yield positions.reached
        finally:
            for task in working:
                task.cancel()
            await asyncio.wait(working)


async def archived(system: "System", events: int) -> None:
    """Wait until the archive has so many events, where it is a view."""
    if system.views is None:
        return
    connection = await connect(address_of(system.views, "history"))
    try:
        async with asyncio.timeout(20 * PATIENCE):
            while await connection.fetchval(_SEEN) < events:
                await asyncio.sleep(LOOK)
    finally:
        await close(connection)


async def check(address: Address, tickets: int) -> None:
    """Compare what the views say at the end. Raises ViewsBehind."""
    connection = await connect(address_of(address, "tickets"))
    try:
        passed = await connection.fetchval("SELECT count(*) FROM tickets WHERE state = 'passed'")
    finally:
        await close(connection)
    if passed != tickets:
        raise ViewsBehind(f"the views have {passed} tickets that passed, and {tickets} did")
