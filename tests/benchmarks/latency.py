"""Tickets at a steady rate: how long until one is claimed, and until it is done."""

import asyncio
from time import perf_counter
from typing import Final

from adapters.client import Accepted, Claimed, TicketProducer
from tests.benchmarks.api import Served, served
from tests.benchmarks.check import verified
from tests.benchmarks.report import Figures, figures, milliseconds
from tests.benchmarks.runners import COMING_AND_GOING, registered, working
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import CHANGES, Seen, opening
from tests.benchmarks.views import LOOK, PATIENCE, check, seeing

WARM_UP: Final = 2.0
"""Seconds of the same load before anything is measured."""


async def latency(system: System, settings: Settings) -> Figures:
    """Open tickets at fixed times, and note from these when a runner has each, and when it is done.

    It is done when the views show what was reported.
    """
    api = await served(system)
    warm_up, measured = round(WARM_UP * settings.rate), round(settings.seconds * settings.rate)
    every = warm_up + measured
    async with (
        seeing(system) as seen,
        registered(api, "runner", settings.workers, settings.slots) as runners,
        asyncio.TaskGroup() as group,
    ):
        assert seen is not None
        times = _Times(seen, group)
        async with working(runners, times.claimed, times.reported):
            await _open(api, settings.rate, 0, warm_up, times)
            await times.until(warm_up)
            system.meter.start()
            began = perf_counter()
            await _open(api, settings.rate, warm_up, measured, times)
            await times.until(every)
            seconds, cpu = perf_counter() - began, system.meter.used()
            elsewhere = system.meter.elsewhere()
    await check(system.database, every)
    events = CHANGES * every + COMING_AND_GOING * settings.workers
    await verified(system.service, events=events, tickets=every)
    numbers = range(warm_up, every)
    until_claimed = [times.claims[n] - times.due[n] for n in numbers]
    until_done = [times.done[n] - times.due[n] for n in numbers]
    return figures(
        system,
        "latency",
        changes=CHANGES * measured,
        tickets=measured,
        seconds=seconds,
        cpu=cpu,
        latencies=until_done,
        workers=settings.workers,
        engines=settings.engines,
        tickets_a_second_wanted=settings.rate,
        submit_to_claimed_p50_ms=milliseconds(until_claimed, 50),
        submit_to_claimed_p99_ms=milliseconds(until_claimed, 99),
        submit_to_done_p50_ms=milliseconds(until_done, 50),
        submit_to_done_p99_ms=milliseconds(until_done, 99),
        samples=measured,
        busy_elsewhere=round(elsewhere, 2),
    )


class _Times:
    """When each ticket was due to be opened, was claimed, and was done; by its number."""

    def __init__(self, seen: Seen, group: asyncio.TaskGroup) -> None:
        self.due: dict[int, float] = {}
        self.claims: dict[int, float] = {}
        self.done: dict[int, float] = {}
        self._seen = seen
        self._group = group

    def claimed(self, one: Claimed) -> None:
        """A runner has it."""
        self.claims[int(one.ticket)] = perf_counter()

    def reported(self, answer: Accepted) -> None:
        """It is accepted what was reported; the views have it when they have that event."""
        self._group.create_task(self._is_done(answer))

    async def _is_done(self, answer: Accepted) -> None:
        await self._seen(answer.partition, answer.sequence)
        self.done[int(answer.ticket)] = perf_counter()

    async def until(self, count: int) -> None:
        """Wait until so many are done."""
        async with asyncio.timeout(PATIENCE):
            while len(self.done) < count:
                await asyncio.sleep(LOOK)


async def _open(api: Served, rate: float, first: int, count: int, times: _Times) -> None:
    """Send each when it is due, whether others have been answered or not."""
    began = perf_counter()
    async with TicketProducer(api.url, api.token) as producer, asyncio.TaskGroup() as group:
        for n in range(count):
            times.due[first + n] = due = began + n / rate
            if (ahead := due - perf_counter()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(producer.submit(opening(first + n)))
