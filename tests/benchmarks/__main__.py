"""Run the modes one after another, each on servers of its own."""

import gc
import os
import sys
from contextlib import AbstractAsyncContextManager

import uvloop

from adapters.config import Config
from tests.benchmarks import settings as settings_
from tests.benchmarks.bulk import bulk
from tests.benchmarks.engines import EngineEnded
from tests.benchmarks.http import ROLES, http
from tests.benchmarks.idle import idle
from tests.benchmarks.large import large
from tests.benchmarks.latency import latency
from tests.benchmarks.memory import memory
from tests.benchmarks.open import open_
from tests.benchmarks.queries import queries
from tests.benchmarks.rebuild import rebuild
from tests.benchmarks.report import Report
from tests.benchmarks.settings import Settings, SettingsError
from tests.benchmarks.system import System, started
from tests.benchmarks.takeover import takeover
from workers.logs import configure

MEASURE = {
    "bulk": bulk,
    "idle": idle,
    "large": large,
    "takeover": takeover,
    "rebuild": rebuild,
    "queries": queries,
    "memory": memory,
    "open": open_,
    "http": http,
    "latency": latency,
}


async def main(settings: Settings) -> None:
    report = Report(settings.json)
    for mode in settings.modes:
        async with _started(mode, settings) as system:
            report.machine(system)
            report.add(await MEASURE[mode](system, settings))
    report.show()


def _started(mode: str, settings: Settings) -> AbstractAsyncContextManager[System]:
    """What the mode is measured on."""
    if mode in ("memory", "open"):  # engines come and go; on Kafka they need the archive
        return started(settings.log, 0, views=settings.log != "postgres", partitions=1)
    if mode == "queries":  # which has rows of its own making
        return started(settings.log, 0, views=False)
    if mode in ("http", "latency"):
        return started(settings.log, settings.engines, views=True, roles=ROLES)
    engines = max(2, settings.engines) if mode == "takeover" else settings.engines
    return started(settings.log, engines, views=settings.views)


if __name__ == "__main__":
    configure(Config(log_level="warning"))
    gc.set_threshold(100_000, 50, 1_000)  # as engines do; else a quarter of the time
    try:
        uvloop.run(main(settings_.read(os.environ)))
    except (SettingsError, EngineEnded) as error:
        sys.exit(f"benchmarks: {error}")
