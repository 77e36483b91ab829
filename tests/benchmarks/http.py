"""Runners that wait for tickets, and tickets through the hands of runners: all of it over HTTP."""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Final

from adapters.client import Opening, TicketProducer
from adapters.postgres.connection import close, connect
from adapters.postgres.views.view import address_of
from tests.benchmarks.api import Served, served
from tests.benchmarks.check import verified
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.runners import COMING_AND_GOING, Runner, accepted, registered, working
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import CHANGES, opening
from tests.benchmarks.views import LOOK, PATIENCE, check

ROLES: Final = ("api", "reactor", "reaper")
"""What runs beside engines and projector: all that a service has."""

WARM_UP: Final = 500
"""Tickets before anything is measured."""

PASSED: Final = "SELECT count(*) FROM tickets WHERE state = 'passed'"


async def http(system: System, settings: Settings) -> Figures:
    """Have many runners wait; then have tickets opened, claimed, started and reported by a few.

    The time is from the first that is sent until the views show that all have passed.
    """
    api = await served(system)
    idle = await _idle(system, api, settings)
    tickets = max(1, settings.tickets // 4)
    async with registered(api, "runner", settings.workers, settings.slots) as runners:
        async with working(runners):
            await _lived(system, api, runners, 0, WARM_UP)
            before = sum(one.requests for one in runners)
            for one in runners:
                one.latencies.clear()
            system.meter.start()
            began = perf_counter()
            await _lived(system, api, runners, WARM_UP, tickets)
            seconds, cpu = perf_counter() - began, system.meter.used()
            elsewhere = system.meter.elsewhere()
        requests = sum(one.requests for one in runners) - before
    every = WARM_UP + tickets
    await check(system.database, every)
    comings = COMING_AND_GOING * (settings.workers + settings.idlers)
    events = CHANGES * every + comings
    folded = await verified(system.service, events=events, tickets=every)
    return figures(
        system,
        "http",
        changes=CHANGES * tickets,
        tickets=tickets,
        seconds=seconds,
        cpu=cpu,
        latencies=[seconds for one in runners for seconds in one.latencies],
        workers=settings.workers,
        slots=settings.slots,
        engines=settings.engines,
        tickets_in_all=tickets,
        requests_of_runners=requests,
        busy_elsewhere=round(elsewhere, 2),
        events_verified=folded.events,
        **idle,
    )


def numbered(first: int, count: int) -> Iterator[Opening]:
    """One-task tickets."""
    return (opening(number) for number in range(first, first + count))


async def _lived(
    system: System, api: Served, runners: list[Runner], first: int, count: int
) -> None:
    """Open so many tickets, and wait until the views show that they have passed."""
    async with TicketProducer(api.url, api.token) as producer:
        async for answer in producer.submit_many(numbered(first, count)):
            accepted(answer)
    while sum(one.attempts for one in runners) < first + count:
        await asyncio.sleep(LOOK)
    connection = await connect(address_of(system.database, "tickets"))
    try:
        async with asyncio.timeout(PATIENCE):
            while await connection.fetchval(PASSED) != first + count:
                await asyncio.sleep(LOOK)
    finally:
        await close(connection)


async def _idle(system: System, api: Served, settings: Settings) -> dict[str, Any]:
    """What it costs that runners wait and there is nothing for them, in percent of a core."""
    async with registered(api, "idler", settings.idlers, 1) as runners, working(runners):
        await asyncio.sleep(min(settings.seconds, 2.0))  # until all of them wait
        system.meter.start()
        began = perf_counter()
        await asyncio.sleep(settings.seconds)
        seconds, cpu = perf_counter() - began, system.meter.used()
        elsewhere = system.meter.elsewhere()
        requests = sum(one.requests for one in runners)
    runners_own = cpu.pop("driver")
    percent = {name: round(100 * used / seconds, 2) for name, used in cpu.items()}
    return {
        "idle_runners": settings.idlers,
        "idle_percent_of_a_core": round(sum(percent.values()), 2),
        "idle_percent_by_process": percent,
        "idle_percent_of_the_runners": round(100 * runners_own / seconds, 2),
        "idle_requests": requests,
        "idle_busy_elsewhere": round(elsewhere, 2),
    }
