"""An engine is killed: how long until each of its partitions is served again."""

import asyncio
from collections.abc import Iterator
from itertools import count
from statistics import median
from time import perf_counter
from typing import Final

from adapters.asking import Asker
from domain.envelope import Answer, partition_of
from domain.event import Command
from tests.benchmarks.check import verified
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import Driver, wake

ROUNDS: Final = 3
MOVED: Final = 0.5
"""Seconds from the kill on after which nobody takes a partition for one that had no part in it."""


class Prober(Driver):
    """Takes tickets of one partition through their lives, one command at a time."""

    def __init__(self, asker: Asker, numbers: Iterator[int]) -> None:
        super().__init__(asker)
        self.is_over = False
        self._numbers = numbers
        self._since = 0.0
        self._served: asyncio.Future[float] | None = None

    async def go_on(self) -> None:
        """Until it is over."""
        while not self.is_over:
            await self.live(next(self._numbers))

    async def ask(self, stream: str, command: Command, changes: int = 1) -> Answer:
        """As a driver; the first that was sent since the kill says that the partition is served."""
        sent = perf_counter()
        answer = await super().ask(stream, command, changes)
        if self._served is not None and sent >= self._since:
            self._served.set_result(perf_counter() - self._since)
            self._served = None
        return answer

    def served_since(self, moment: float) -> "asyncio.Future[float]":
        """Seconds from the *moment* to the first answer to what was sent behind it."""
        self._since = moment
        self._served = asyncio.get_running_loop().create_future()
        return self._served


async def takeover(system: System, settings: Settings) -> Figures:
    """Kill an engine of two a few times, while every partition has one command at a time."""
    driver, partitions = Driver(system.asker), system.service.log.partitions
    first = await wake(driver, partitions)
    probers = [Prober(system.asker, _numbers(n, partitions, first)) for n in range(partitions)]
    system.meter.start()
    began = perf_counter()
    rounds: list[list[float]] = []
    async with asyncio.TaskGroup() as group:
        for prober in probers:
            group.create_task(prober.go_on())
        for _ in range(ROUNDS):
            moment = perf_counter()
            served = [prober.served_since(moment) for prober in probers]
            system.engines.kill()
            rounds.append(await asyncio.gather(*served))
            await system.engines.start()
            await asyncio.sleep(system.service.config.lease)  # it gets its share
        for prober in probers:
            prober.is_over = True
    moved = [seconds for one in rounds for seconds in one if seconds > MOVED]
    measured = figures(
        system,
        "takeover",
        changes=sum(prober.changes for prober in probers),
        tickets=sum(prober.finished for prober in probers),
        seconds=perf_counter() - began,
        cpu=system.meter.used(),
        latencies=[latency for prober in probers for latency in prober.latencies],
        lease_seconds=system.service.config.lease,
        kills=ROUNDS,
        partitions=partitions,
        partitions_that_moved=len(moved),
        median_seconds_until_served=round(median(moved), 2) if moved else 0.0,
        longest_seconds_until_served=round(max(moved), 2) if moved else 0.0,
        engines=len(system.engines.pids),
    )
    everyone = (driver, *probers)
    await verified(
        system.service,
        events=sum(one.changes for one in everyone),
        tickets=sum(one.finished for one in everyone),
    )
    return measured


def _numbers(partition: int, partitions: int, first: int) -> Iterator[int]:
    """The numbers of tickets that live in the partition."""
    return (n for n in count(first) if partition_of(f"ticket/{n}", partitions) == partition)
