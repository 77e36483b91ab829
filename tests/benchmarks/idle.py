"""One command at a time on a system that does nothing else: how long until the reply."""

from time import perf_counter
from typing import Final

from tests.benchmarks.check import verified
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import Driver, wake

WARM_UP: Final = 25
TICKETS: Final = 200


async def idle(system: System, settings: Settings) -> Figures:
    """Take tickets through their lives one after another, four commands each."""
    driver = Driver(system.asker)
    first = await wake(driver, system.service.log.partitions)
    for number in range(first, first + WARM_UP):
        await driver.live(number)
    driver.latencies.clear()
    changes = driver.changes
    system.meter.start()
    began = perf_counter()
    for number in range(first + WARM_UP, first + WARM_UP + TICKETS):
        await driver.live(number)
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
        busy_elsewhere=round(system.meter.elsewhere(), 2),
    )
    await verified(system.service, events=driver.changes, tickets=driver.finished)
    return measured
