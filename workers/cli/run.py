"""The shortest way in: a command, tested on the present commit."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import uvloop

from adapters.client import Ticket, errors
from adapters.config import Config
from workers.child import Ended
from workers.cli import configuration, main
from workers.cli.runner import Pair, environment_of
from workers.cli.talking import EXIT_AWAY, EXIT_FAILED, EXIT_MISSING, fail
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
    fresh checkout; its log is shown, and the exit status says how it ended. What is not committed
    is not tested. Where no service listens, one is started for this time; what it has recorded
    stays in the data directory.
    """
    config = configuration(quiet=True)
    wanted = Wanted(
        command=command,
        artifacts=artifacts,
        environment=environment_of(environment),
        provider=provider,
        limit=timeout,
    )
    try:
        commit = present_commit(Path.cwd())
        ticket = uvloop.run(_run(config, commit, wanted))
    except NotTried as error:
        fail(EXIT_MISSING, str(error))
    except (Ended, errors.TurnstileError) as error:
        fail(EXIT_AWAY, str(error), "`turnstile doctor` says what is wrong.")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
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
