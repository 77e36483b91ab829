"""Many one-task tickets at once: how many state changes a second are stored and acknowledged."""

import itertools
from collections.abc import Iterator
from time import perf_counter

from tests.benchmarks.check import verified
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.tickets import CHANGES, Driver, at_once, wake
from tests.benchmarks.views import Watch, check, watching


async def bulk(system: System, settings: Settings) -> Figures:
    """Keep `in_flight` tickets in flight; measure from when two rounds of them have finished.

    The tickets that are still in flight when the window closes are finished, but not measured.
    """
    driver = Driver(system.asker)
    first = await wake(driver, system.service.log.partitions)
    window = _Window(system, driver, settings)
    visible: dict[str, float] = {}
    if system.views is None:
        await at_once(settings.in_flight, driver.live, window.numbers(first))
    else:
        async with watching(system.views) as watch:
            await at_once(settings.in_flight, driver.live, window.numbers(first))
            visible = window.visible(watch)
            await watch.until(driver.changes)
        await check(system.views, driver.finished)
    if driver.changes != CHANGES * driver.finished:
        raise AssertionError(f"{driver.finished} tickets made {driver.changes} changes")
    folded = await verified(system.service, events=driver.changes, tickets=driver.finished)
    return figures(
        system,
        "bulk",
        changes=window.changes,
        tickets=window.tickets,
        seconds=window.seconds,
        cpu=window.cpu,
        latencies=window.latencies,
        in_flight=settings.in_flight,
        engines=settings.engines,
        measured_tickets=window.tickets,
        busy_elsewhere=round(window.elsewhere, 2),
        events_verified=folded.events,
        recovery_events_per_second=round(folded.events_per_second),
        **visible,
    )


class _Window:
    """What is measured: behind the warm-up, and before the load gets less."""

    def __init__(self, system: System, driver: Driver, settings: Settings) -> None:
        self._meter = system.meter
        self._driver = driver
        self._opens_at = 2 * settings.in_flight
        self._tickets = settings.tickets

    def numbers(self, first: int) -> Iterator[int]:
        """Numbers for tickets, until the window has closed."""
        numbers = itertools.count(first)
        while self._driver.finished < self._opens_at:
            yield next(numbers)
        self._open()
        while self._driver.finished < self._opens_at + self._tickets:
            yield next(numbers)
        self._close()

    def _open(self) -> None:
        self._opens_at = self._driver.finished
        self._changes = self._driver.changes
        self._began = perf_counter()
        self._driver.latencies.clear()
        self._meter.start()

    def _close(self) -> None:
        self._ended = perf_counter()
        self.seconds = self._ended - self._began
        self.tickets = self._driver.finished - self._opens_at
        self.changes = self._driver.changes - self._changes
        self.cpu = self._meter.used()
        self.elsewhere = self._meter.elsewhere()
        self.latencies = tuple(self._driver.latencies)

    def visible(self, watch: Watch) -> dict[str, float]:
        """What of the changes became visible while the window was open."""
        return {
            "visible_changes_per_second": round(watch.rate(self._began, self._ended)),
            "changes_not_visible_yet": self._changes + self.changes - watch.at(self._ended),
        }
