"""A runner on this machine."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import structlog

from adapters.client import errors
from adapters.config import Config
from adapters.secrets import files_of
from adapters.token_file import kept
from workers.cli import configuration, main, run
from workers.cli.talking import EXIT_AWAY, EXIT_CONFLICT, EXIT_FORBIDDEN, EXIT_WRONG, fail
from workers.runner.home import HomeTaken
from workers.runner.machine import capabilities as machine
from workers.runner.opening import PROVIDERS, Settings, open_runner
from workers.runner.runner import WAIT, Superseded

log = structlog.get_logger()

DRAIN: Final = 600.0
"""Seconds for which attempts may go on when a runner is told to end."""


class Pair(click.ParamType[tuple[str, str | None]]):
    """`NAME=VALUE`, or a name alone where that says enough."""

    name = "NAME[=VALUE]"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | None]:
        """The name and the value."""
        name, given, said = value.partition("=")
        if not name:
            self.fail(f"{value!r} has no name", param, ctx)
        return name, said if given else None


@main.command()
@click.option("--name", help="The worker's name (TURNSTILE_NAME).")
@click.option("--slots", type=click.IntRange(1, 1_000), default=1, help="Tasks at a time.")
@click.option(
    "--capability", "-c", "capable", type=Pair(), multiple=True, help="What it can do; repeatable."
)
@click.option("--only", multiple=True, help="Take only tasks that require this; repeatable.")
@click.option(
    "--provider", type=click.Choice(PROVIDERS), default="process", help="What tasks are run by."
)
@click.option(
    "--local",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Where a sandbox's sources may be on this machine; repeatable.",
)
@click.option("--env", "-e", "environment", type=Pair(), multiple=True, help="What tasks have.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Its directory.")
@click.option("--once", is_flag=True, help="Take what one claim gives, and end.")
@click.option("--wait", type=click.FloatRange(0, 30), default=WAIT, help="Seconds a claim waits.")
@click.option("--drain", type=click.FloatRange(0), default=DRAIN, help="Seconds to finish in.")
def runner(
    name: str | None,
    slots: int,
    capable: Sequence[tuple[str, str | None]],
    only: Sequence[str],
    provider: str,
    local: Sequence[Path],
    environment: Sequence[tuple[str, str | None]],
    directory: Path | None,
    once: bool,
    wait: float,
    drain: float,
) -> None:
    """Claim tasks, run them, and report how they went.

    The service is at TURNSTILE_URL, or where an API of this configuration listens; the token
    (TURNSTILE_TOKEN, or the one in the data directory) has the scope `work`. Tasks may require
    what the runner is by itself (worker, provider, os, arch), and each --capability, as in
    `--capability gpu=h100`; with `--only gpu` it is kept for those that require a gpu, whichever,
    and with `--only worker` for those that name it. `--env NAME` hands on a variable of this
    environment.

    What is run by the provider `sandbox` has sources of this machine (paths, `file:`) only from
    below a --local directory.

    SIGTERM has it take nothing more and finish what it has, within --drain seconds; then, or when
    it is told again, it hands tasks back. Its --dir, .turnstile/runners/NAME without one, is its
    own: reports that were not taken are kept there.
    """
    config = configuration({"name": name} if name else None)
    capabilities: dict[str, tuple[str, ...]] = {}
    for dimension, value in capable:
        if value is None:
            fail(EXIT_WRONG, f"--capability {dimension}: it has no value, as in {dimension}=yes")
        capabilities[dimension] = (*capabilities.get(dimension, ()), value)
    if missing := set(only) - set(capabilities) - set(machine(config.name, provider)):
        dimension = min(missing)
        why = f"the runner has none, so that no task would be its own: add -c {dimension}=…"
        fail(EXIT_WRONG, f"--only {dimension}: {why}")
    settings = Settings(
        worker=config.name,
        directory=directory or Path(config.data) / "runners" / config.name,
        url=config.url or f"http://{config.http}",
        token=config.token or kept(config.data),
        slots=slots,
        capabilities=capabilities,
        provider=provider,
        environment=environment_of(environment),
        only=only,
        once=once,
        wait=wait,
        drain=drain,
        hidden=private(config),
        local=local,
    )
    try:
        run(_serve(settings))
    except HomeTaken as error:
        fail(EXIT_CONFLICT, str(error))
    except Superseded as error:
        fail(EXIT_CONFLICT, str(error))
    except (errors.Unauthenticated, errors.Forbidden) as error:
        fail(EXIT_FORBIDDEN, str(error), _MAKE_TOKEN)
    except errors.Conflict as error:
        fail(EXIT_CONFLICT, str(error))
    except errors.Refused as error:
        fail(EXIT_WRONG, str(error))
    except (errors.TurnstileError, OSError) as error:
        fail(EXIT_AWAY, str(error))


_MAKE_TOKEN: Final = (
    "`turnstile token make NAME --scope work` makes one for a runner, by who is an admin."
)


def private(config: Config) -> Sequence[Path]:
    """What of a service on this machine no task is to see: its data, tokens, and secrets."""
    given = (config.data, config.secrets, os.environ.get("TURNSTILE_CONFIG"))
    files = files_of(config.secrets) if config.secrets else ()
    return [*(Path(each) for each in given if each), *files]


def environment_of(given: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    """What tasks have; what has no value is handed on, if it is there."""
    return {
        name: os.environ[name] if value is None else value
        for name, value in given
        if value is not None or name in os.environ
    }


async def _serve(settings: Settings) -> None:
    async with open_runner(settings) as runner:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runner.stop)
        log.info("runner_started", worker=settings.worker, url=settings.url)
        await runner.run()
        log.info("runner_stopped", worker=settings.worker)
