"""The processes by role."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import click
import structlog

from adapters.codec import CodecError
from adapters.config import Config
from adapters.log import LogError
from domain.stream import VersionGap
from workers.cli import EXIT_CONFIG, configuration, main, run
from workers.compose import Service, assemble, views_of
from workers.watchdog import Watchdog

log = structlog.get_logger()

EXIT_LOG = 69
"""The exit status where the log is away, damaged, or newer than this process (EX_UNAVAILABLE)."""


class Role(Protocol):
    """What a process does until it is stopped."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


@main.command()
def engine() -> None:
    """Own partitions of the log and decide what is asked of them."""
    run(_serve("engine", configuration(), Service.engine, memory=True))


@main.command()
def projector() -> None:
    """Fold the log's events into the views that answer queries."""
    config = configuration()
    run(_serve("projector", config, Service.projector, views=views_of(config)))


@main.command()
def api() -> None:
    """Answer queries of the views over HTTP."""
    config = configuration()
    run(_serve("api", config, Service.api, views=views_of(config), reading=True))


@main.command()
def intake() -> None:
    """Make commands of what foreign producers ask for in their Kafka topics."""
    config = configuration()
    lacking = "TURNSTILE_KAFKA" if config.kafka is None else "TURNSTILE_INTAKE"
    if config.kafka is None or not config.intake:
        click.echo(f"turnstile: an intake needs {lacking}, and it is not set", err=True)
        sys.exit(EXIT_CONFIG)
    run(_serve("intake", config, Service.intake))


async def _serve(
    name: str,
    config: Config,
    role_of: Callable[[Service, Watchdog], Role],
    *,
    views: Sequence[str] | None = None,
    reading: bool = False,
    memory: bool = False,
) -> None:
    watchdog = Watchdog(config.watchdog)
    try:
        async with assemble(config, views=views, reading=reading, memory=memory) as service:
            role = role_of(service, watchdog)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, role.stop)
            log.info(f"{name}_started", name=config.name, partitions=service.log.partitions)
            await role.run()
            log.info(f"{name}_stopped", name=config.name)
    except (LogError, CodecError, VersionGap) as error:
        log.critical(
            f"{name}_failed",
            error=str(error),
            kind=type(error).__name__,
            kafka=config.kafka,
            database_url=config.shown()["database_url"],
        )
        sys.exit(EXIT_LOG)
    finally:
        watchdog.close()
