"""One command at a time on a system that does nothing else: until the reply, and to be seen."""

from time import perf_counter
from typing import Final

from tests.benchmarks.check import verified
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import Driver, wake
from tests.benchmarks.views import seeing

WARM_UP: Final = 25
TICKETS: Final = 200


async def idle(system: System, settings: Settings) -> Figures:
    """Take tickets through their lives one after another, four commands each."""
    driver = Driver(system.asker)
    first = await wake(driver, system.service.log.partitions)
    async with seeing(system) as seen:
        for number in range(first, first + WARM_UP):
            await driver.live(number, seen)
        driver.latencies.clear()
        driver.visible.clear()
        changes = driver.changes
        system.meter.start()
        began = perf_counter()
        for number in range(first + WARM_UP, first + WARM_UP + TICKETS):
            await driver.live(number, seen)
    visible = sorted(driver.visible)
    measured = figures(
        system,
        "idle",
        changes=driver.changes - changes,
        tickets=TICKETS,
        seconds=perf_counter() - began,
        cpu=system.meter.used(),
        latencies=driver.latencies,
        in_flight=1,
        engines=settings.engines,
        samples=len(driver.latencies),
        **(
            {"visible_p50_ms": _ms(visible, 50), "visible_p99_ms": _ms(visible, 99)}
            if visible
            else {}
        ),
        busy_elsewhere=round(system.meter.elsewhere(), 2),
    )
    await verified(system.service, events=driver.changes, tickets=driver.finished)
    return measured


def _ms(ordered: list[float], percent: int) -> float:
    return round(ordered[len(ordered) * percent // 100] * 1e3, 2)
