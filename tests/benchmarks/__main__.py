"""Run the modes one after another, each on servers of its own."""

import gc
import os
import sys

import uvloop

from adapters.config import Config
from tests.benchmarks import settings as settings_
from tests.benchmarks.bulk import bulk
from tests.benchmarks.engines import EngineEnded
from tests.benchmarks.idle import idle
from tests.benchmarks.large import large
from tests.benchmarks.queries import queries
from tests.benchmarks.rebuild import rebuild
from tests.benchmarks.report import Report
from tests.benchmarks.settings import Settings, SettingsError
from tests.benchmarks.system import started
from tests.benchmarks.takeover import takeover
from workers.logs import configure

MEASURE = {
    "bulk": bulk,
    "idle": idle,
    "large": large,
    "takeover": takeover,
    "rebuild": rebuild,
    "queries": queries,
}


async def main(settings: Settings) -> None:
    report = Report(settings.json)
    for mode in settings.modes:
        engines = {"takeover": max(2, settings.engines), "queries": 0}.get(mode, settings.engines)
        views = settings.views and mode != "queries"  # which has rows of its own making
        async with started(settings.log, engines, views=views) as system:
            report.machine(system)
            report.add(await MEASURE[mode](system, settings))
    report.show()


if __name__ == "__main__":
    configure(Config(log_level="warning"))
    gc.set_threshold(100_000, 50, 1_000)  # as engines do; else a quarter of the time
    try:
        uvloop.run(main(settings_.read(os.environ)))
    except (SettingsError, EngineEnded) as error:
        sys.exit(f"benchmarks: {error}")
