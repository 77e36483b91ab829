"""Commands about the views."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from adapters.codec import CodecError
from adapters.config import Config
from adapters.log import LogError
from adapters.postgres.views.rebuilding import before, drop
from adapters.postgres.views.view import address_of
from domain.stream import VersionGap
from workers.cli import EXIT_CONFIG, configuration, main, run
from workers.cli.roles import EXIT_LOG
from workers.compose import assemble, views_of

PARTS = {"tasks": "tickets", "attempts": "tickets", "results": "tickets"}
"""Views that are folded together with another."""


@main.command()
@click.argument("view", type=click.Choice(["tickets", *PARTS, "workers", "history"]))
@click.option("--drop-old", is_flag=True, help="Drop what the last rebuild replaced, and end.")
def rebuild(view: str, drop_old: bool) -> None:
    """Fold a VIEW again from the log, and put it in the place of the one in use.

    The one in use goes on meanwhile. It is kept then, until --drop-old. Tickets, tasks, attempts
    and results are folded together, so each of them means all four.
    """
    config, name = configuration(quiet=True), PARTS.get(view, view)
    if name not in views_of(config):
        click.echo(
            f"turnstile: there is no view {name!r} here: PostgreSQL keeps the log itself", err=True
        )
        sys.exit(EXIT_CONFIG)
    try:
        run(_drop(config, name) if drop_old else _rebuild(config, name))
    except (LogError, CodecError, VersionGap) as error:
        click.echo(f"turnstile: {error}", err=True)
        sys.exit(EXIT_LOG)


async def _drop(config: Config, name: str) -> None:
    async with assemble(config, views=()) as service:
        assert service.database is not None
        found = await drop(before(address_of(service.database, name)))
    click.echo("The old view is dropped." if found else "There was none to drop.")


async def _rebuild(config: Config, name: str) -> None:
    console = Console(stderr=True)
    columns = TextColumn(f"folding {name}"), BarColumn(), MofNCompleteColumn()
    async with assemble(config, views=()) as service:
        with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
            task = shown.add_task(name)
            events = await service.rebuild(
                name, lambda done, of: shown.update(task, completed=done, total=of)
            ).run()
    click.echo(f"{name} is folded anew from {events:,} events. The old view is kept: --drop-old.")
