"""The processes by role."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial

import click
import structlog

from adapters.codec import CodecError
from adapters.config import Config
from adapters.log import LogError
from adapters.token_file import token_file
from domain.stream import VersionGap
from workers.cli import EXIT_CONFIG, configuration, main, run
from workers.compose import REACTOR, REAPED, Service, assemble, views_of
from workers.together import Role, together
from workers.watchdog import Watchdog

log = structlog.get_logger()

EXIT_LOG = 69
"""The exit status where the log is away, damaged, or newer than this process (EX_UNAVAILABLE)."""


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
    run(_serve("api", config, Service.api, views=(*views_of(config), REACTOR), http=True))


@main.command()
def reactor() -> None:
    """Ask for what follows from events: newer tickets supersede, those awaited are told of."""
    run(_serve("reactor", configuration(), Service.reactor, views=(REACTOR,)))


@main.command()
def reaper() -> None:
    """Tell tickets and tasks that have lasted too long to end."""
    run(_serve("reaper", configuration(), Service.reaper, views=REAPED))


@main.command()
def intake() -> None:
    """Make commands of what foreign producers ask for in their Kafka topics."""
    config = configuration()
    lacking = "TURNSTILE_KAFKA" if config.kafka is None else "TURNSTILE_INTAKE"
    if config.kafka is None or not config.intake:
        click.echo(f"turnstile: an intake needs {lacking}, and it is not set", err=True)
        sys.exit(EXIT_CONFIG)
    run(_serve("intake", config, Service.intake))


@main.command()
@click.option("--http", metavar="HOST:PORT", help="Where the API listens (TURNSTILE_HTTP).")
def up(http: str | None) -> None:
    """Everything in one process: the whole service on one machine.

    The log and the views are in the bundled PostgreSQL, in the directory .turnstile, unless
    DATABASE_URL or TURNSTILE_KAFKA names servers. Ends in order on Ctrl-C.
    """
    is_for_people = sys.stderr.isatty() and "TURNSTILE_LOG_LEVEL" not in os.environ
    config = configuration({"http": http} if http else None, quiet=is_for_people)
    role = partial(together, tell=partial(_greet, config)) if is_for_people else together
    run(_serve("up", config, role, views=(*views_of(config), REACTOR), http=True, memory=True))


def _greet(config: Config, address: str) -> None:
    """Say to people what there is now, and what they may do with it."""
    click.echo(
        f"Turnstile listens at http://{address}; Ctrl-C ends it.\n"
        f"  http://{address}/v1/docs   the API, to read and try\n"
        f"  {token_file(config.data)}   a token that may do everything; the command line uses it\n"
        "  turnstile init, turnstile submit ticket.toml --watch   a first ticket\n"
        "  turnstile doctor   whether all is well; TURNSTILE_LOG_LEVEL=info tells more here",
        err=True,
    )


async def _serve(
    name: str,
    config: Config,
    role_of: Callable[[Service, Watchdog], Role],
    *,
    views: Sequence[str] | None = None,
    http: bool = False,
    memory: bool = False,
) -> None:
    watchdog = Watchdog(config.watchdog)
    try:
        async with assemble(config, views=views, http=http, memory=memory) as service:
            role = role_of(service, watchdog)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, role.stop)
            log.info(f"{name}_started", name=config.name, partitions=service.log.partitions)
            await role.run()
            log.info(f"{name}_stopped", name=config.name)
    except (LogError, CodecError, VersionGap, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            click.echo("turnstile: --http or TURNSTILE_HTTP may name another address", err=True)
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
