"""What a reaper does while the log is away: it does not look, so that nothing seems to run out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapters.log import Unavailable
from domain.envelope import Submitted
from domain.policy import lost_lease
from workers.reaper import Reaper


class Away:
    """A log that takes nothing until it is back."""

    def __init__(self) -> None:
        self.is_back = False
        self.asked = 0
        self.sent: list[Submitted] = []

    async def end(self, partition: int) -> int:
        self.asked += 1
        self._check()
        return 0

    async def send(self, commands: Sequence[Submitted]) -> None:
        self._check()
        self.sent += commands

    def _check(self) -> None:
        if not self.is_back:
            raise Unavailable("it is away")


class Looking:
    """Finds this one lease lost, and counts the looks."""

    COMMAND = lost_lease("9", "A", 3, "the lease ran out")

    def __init__(self) -> None:
        self.looks = 0

    async def due(self) -> AsyncGenerator[Submitted, None]:
        self.looks += 1
        yield self.COMMAND

    @asynccontextmanager
    async def opening(self) -> AsyncIterator["Looking"]:
        yield self


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def test_nobody_looks_while_what_is_found_could_not_be_sent() -> None:
    log, leases, stages = Away(), Looking(), Looking()
    reaper = Reaper(log, leases.opening, stages.opening, interval=0.001)  # type: ignore[arg-type]
    running = asyncio.create_task(reaper.run())
    await until(lambda: log.asked > 5)
    looks = leases.looks, stages.looks
    await until(lambda: log.asked > 50)
    assert looks == (leases.looks, stages.looks)
    log.is_back = True
    await until(lambda: len(log.sent) >= 2)
    reaper.stop()
    await running
    assert [Looking.COMMAND] * 2 == log.sent
