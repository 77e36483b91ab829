"""A ticket of 10,000 tasks: what it takes, and that each event costs as much as in a small one."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final

from adapters.cloudevents import write
from domain.ticket import commands as c
from tests.benchmarks.api import client, get, reading, seconds
from tests.benchmarks.check import pages, verified
from tests.benchmarks.cost import cost
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import WORKER, Driver, at_once, growing, passed, wake
from tests.benchmarks.views import watching
from workers.compose import Service

TASKS: Final = 10_000


async def large(system: System, settings: Settings) -> Figures:
    """Open a large ticket in parts, then claim all its tasks, start all, and report all."""
    service = system.service
    driver = Driver(system.asker)
    number = await wake(driver, service.log.partitions)
    before = await _stored(service)
    ticket = _Large(driver, number, settings.in_flight)
    driver.latencies.clear()
    system.meter.start()
    phases, visible = {}, {}
    for name, phase in ticket.phases.items():
        phases[name] = await seconds(phase)
        visible[name] = await seconds(lambda: _seen(system))
    took = sum(phases.values())
    cpu = system.meter.used()
    elsewhere = system.meter.elsewhere()
    stored = await _stored(service)
    folded = await verified(service, events=stored, tickets=driver.finished + 1)
    costs = cost()
    return figures(
        system,
        "large",
        changes=stored - before,
        tickets=1,
        seconds=took,
        cpu=cpu,
        latencies=driver.latencies,
        in_flight=settings.in_flight,
        engines=settings.engines,
        tasks=TASKS,
        phase_seconds=_rounded(phases),
        seconds_until_visible=_rounded(visible),
        seconds_to_read=_rounded(await _read(system, number)),
        largest_record_bytes=await _largest_record(service),
        busy_elsewhere=round(elsewhere, 2),
        recovery_events_per_second=round(folded.events_per_second),
        domain_us_per_event_by_tasks={n: round(us, 2) for n, us in costs.by_size.items()},
        domain_us_per_event_first_tasks=round(costs.first, 2),
        domain_us_per_event_last_tasks=round(costs.last, 2),
        domain_folds_per_second=round(costs.folds_per_second),
    )


class _Large:
    """The ticket, by phases."""

    def __init__(self, driver: Driver, number: int, in_flight: int) -> None:
        self.phases: dict[str, Callable[[], Awaitable[None]]] = {
            "open": self.open,
            "claim": self.claim,
            "start": self.start,
            "report": self.report,
        }
        self._driver = driver
        self._number = number
        self._stream = f"ticket/{number}"
        self._in_flight = in_flight
        self._tokens = [0] * TASKS

    async def open(self) -> None:
        for command in growing(self._number, TASKS):
            await self._driver.ask(self._stream, command)

    async def claim(self) -> None:
        async def one(n: int) -> None:
            claim = c.Claim(task=f"task-{n}", worker=WORKER, request=f"request-{n}")
            self._tokens[n] = (await self._driver.ask(self._stream, claim)).version

        await self._all(one)

    async def start(self) -> None:
        async def one(n: int) -> None:
            await self._driver.ask(self._stream, c.Start(task=f"task-{n}", token=self._tokens[n]))

        await self._all(one)

    async def report(self) -> None:
        async def one(n: int) -> None:
            await self._driver.ask(self._stream, passed(f"task-{n}", self._tokens[n]))

        await self._all(one)

    async def _all(self, work: Callable[[int], Awaitable[None]]) -> None:
        await at_once(self._in_flight, work, range(TASKS))


async def _seen(system: System) -> None:
    """Wait until the views have all that the log has."""
    if system.views is not None:
        async with watching(system.views) as watch:
            await watch.until(await _stored(system.service))


async def _read(system: System, number: int) -> dict[str, float]:
    """The longest that one page of each sort takes through the API."""
    if system.views is None:
        return {}
    path, longest = f"/v1/tickets/{number}", {}
    async with reading(system) as service, client(service) as asker:
        longest["ticket"] = await seconds(lambda: get(asker, path))
        for what in ("tasks", "attempts", "events"):
            where: dict[str, Any] = {}
            took = []
            while True:
                began = perf_counter()
                page = await get(asker, f"{path}/{what}", **where)
                took.append(perf_counter() - began)
                if page["next"] is None:
                    break
                where = {"cursor": page["next"]}
            longest[f"page of {what}"] = max(took)
            longest[f"all {what}"] = sum(took)
    return longest


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in figures.items()}


async def _stored(service: Service) -> int:
    log = service.log
    return sum([await log.end(partition) for partition in range(log.partitions)])


async def _largest_record(service: Service) -> int:
    """Bytes of the largest event, in the envelope that any log may store it in."""
    codec = service.codec
    return max(
        [
            len(write(recorded, codec.encode_event(recorded.event), plain=codec.is_plain))
            for partition in range(service.log.partitions)
            async for page in pages(service.log, partition)
            for recorded in page
        ]
    )
