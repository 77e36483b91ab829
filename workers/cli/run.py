"""The shortest way in: a command, tested on the present commit."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
import uvloop

from adapters.client import Ticket, errors
from adapters.config import Config
from workers.child import Ended
from workers.cli import configuration, main
from workers.cli.runner import Pair, environment_of, private
from workers.cli.talking import (
    EXIT_AWAY,
    EXIT_FAILED,
    EXIT_FORBIDDEN,
    EXIT_MISSING,
    EXIT_WRONG,
    fail,
)
from workers.logs import configure
from workers.runner.opening import PROVIDERS
from workers.trying import Commit, NotTried, Told, Wanted, present_commit, trying


@main.command()
@click.argument("command", nargs=-1, required=True)
@click.option("--artifact", "-a", "artifacts", multiple=True, help="What to keep: a glob.")
@click.option("--env", "-e", "environment", type=Pair(), multiple=True, help="What it has.")
@click.option("--provider", type=click.Choice(PROVIDERS), default="process", help="What runs it.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3_600.0, help="In seconds.")
def run(
    command: tuple[str, ...],
    artifacts: tuple[str, ...],
    environment: Sequence[tuple[str, str | None]],
    provider: str,
    timeout: float,
) -> None:
    """Test the present commit with a COMMAND: `turnstile run -- make test`.

    The HEAD of this repository becomes a ticket with one task, which a runner of its own runs in a
    fresh checkout; its log is shown, and the exit status is 0 if it passed and 1 if not. What is
    not committed is not tested. It has the PATH of this environment, and no other variable unless
    --env names it. Where no service listens, one is started for this time; what it has recorded
    stays in the data directory.
    """
    config = configuration(quiet=True)
    configure(msgspec.structs.replace(config, log_level="error"))  # what it says is the command's
    wanted = Wanted(
        command=command,
        artifacts=artifacts,
        environment={"PATH": os.environ.get("PATH", os.defpath), **environment_of(environment)},
        provider=provider,
        limit=timeout,
        hidden=private(config),
    )
    try:
        commit = present_commit(Path.cwd())
        ticket = uvloop.run(_run(config, commit, wanted))
    except NotTried as error:
        fail(EXIT_MISSING, str(error))
    except (errors.Unauthenticated, errors.Forbidden) as error:
        fail(EXIT_FORBIDDEN, str(error))
    except errors.Refused as error:
        fail(EXIT_WRONG, str(error))
    except (Ended, errors.TurnstileError) as error:
        fail(EXIT_AWAY, str(error), "`turnstile doctor` says what is wrong.")
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("turnstile: cancelled", err=True)
        sys.exit(130)
    if artifacts:
        kept = f"`turnstile artifacts {ticket.ticket}` lists what is kept, while a service listens"
        click.echo(f"turnstile: {kept}", err=True)
    click.echo(f"{ticket.ticket}: {ticket.state}{_because(ticket)}", err=True)
    sys.exit(0 if ticket.state == "passed" else EXIT_FAILED)


async def _run(config: Config, commit: Commit, wanted: Wanted) -> Ticket:
    _end_on_signals()
    if commit.differs:
        click.echo("turnstile: what is not committed is not tested", err=True)
    return await trying(config, commit, wanted, Told(_opened(commit), _said))


def _end_on_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _opened(commit: Commit) -> Callable[[str], None]:
    def opened(ticket: str) -> None:
        click.echo(f"{ticket}: {commit.repository.name} at {commit.revision[:10]}", err=True)

    return opened


def _said(part: bytes) -> None:
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def _because(ticket: Ticket) -> str:
    return f" ({ticket.reason})" if ticket.reason else ""
