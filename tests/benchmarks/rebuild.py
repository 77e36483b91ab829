"""The views are folded again from a log with history: how many events a second."""

from time import perf_counter

from adapters.postgres.views.rebuilding import before, drop
from adapters.postgres.views.view import address_of
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import Driver, at_once, wake
from tests.benchmarks.views import check, watching


async def rebuild(system: System, settings: Settings) -> Figures:
    """Take tickets through their lives, then fold the views anew while nobody asks for anything."""
    assert system.views is not None
    driver = Driver(system.asker)
    first = await wake(driver, system.service.log.partitions)
    numbers = range(first, first + settings.tickets)
    await at_once(settings.in_flight, driver.live, numbers)
    async with watching(system.views) as watch:
        await watch.until(driver.changes)
    system.meter.start()
    began = perf_counter()
    folded = await system.service.rebuild("tickets", lambda done, of: None).run()
    seconds = perf_counter() - began
    await check(system.views, driver.finished)
    await drop(before(address_of(system.views, "tickets")))
    return figures(
        system,
        "rebuild",
        changes=folded,
        tickets=driver.finished,
        seconds=seconds,
        cpu=system.meter.used(),
        latencies=[seconds],
        busy_elsewhere=round(system.meter.elsewhere(), 2),
    )
