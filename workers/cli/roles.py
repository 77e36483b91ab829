"""The processes by role."""

import asyncio
import signal
import sys

import structlog

from adapters.codec import CodecError
from adapters.config import Config
from adapters.log import LogError
from domain.stream import VersionGap
from workers.cli import configuration, main, run
from workers.compose import assemble
from workers.watchdog import Watchdog

log = structlog.get_logger()

EXIT_LOG = 69
"""The exit status where the log is away, damaged, or newer than this process (EX_UNAVAILABLE)."""


@main.command()
def engine() -> None:
    """Own partitions of the log and decide what is asked of them."""
    run(_engine(configuration()))


async def _engine(config: Config) -> None:
    watchdog = Watchdog(config.watchdog)
    try:
        async with assemble(config) as service:
            engine = service.engine(watchdog)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, engine.stop)
            log.info("engine_started", name=config.name, partitions=service.log.partitions)
            await engine.run()
            log.info("engine_stopped", name=config.name)
    except (LogError, CodecError, VersionGap) as error:
        log.critical(
            "engine_failed",
            error=str(error),
            kind=type(error).__name__,
            kafka=config.kafka,
            database_url=config.shown()["database_url"],
        )
        sys.exit(EXIT_LOG)
    finally:
        watchdog.close()
