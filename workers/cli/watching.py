"""Watching: what happens, as it happens."""

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from adapters.client import Change, Changes, Client, Task, Ticket
from projections.history import clock
from workers.cli import main
from workers.cli.completing import TICKET
from workers.cli.output import as_json, console, print_json, state, table
from workers.cli.talking import EXIT_FAILED, talk
from workers.cli.tickets import TASKS, progress

SHOWN: Final = 20
"""Tasks that a terminal shows at once: those at work and what went wrong come first."""

TOGETHER: Final = 0.1
"""Seconds for which changes are collected before a ticket is looked at again."""

LATEST: Final = 5


@main.command()
@click.argument("ticket", nargs=-1, type=TICKET)
@click.option("--project", multiple=True, help="Only what happens in this project.")
@click.option("--type", "types", multiple=True, help="Only events of this type: `…task_failed`.")
@as_json
def watch(
    ticket: tuple[str, ...], project: tuple[str, ...], types: tuple[str, ...], in_json: bool
) -> None:
    """Watch a TICKET until it has ended, or everything that happens until Ctrl-C.

    With one ticket, it ends with 0 if that passes, and with 1 if not.
    """

    async def ask(client: Client) -> None:
        if len(ticket) == 1 and not (project or types):
            sys.exit(await follow(client, ticket[0], in_json=in_json))
        changes = client.changes(ticket=ticket, project=project, type=types)
        async for change in changes:
            _tell(change, in_json=in_json)

    talk(ask)


async def follow(
    client: Client, ticket: str, *, after: str | None = None, in_json: bool = False
) -> int:
    """Show the ticket until it has ended; the exit status that says how."""
    row = await client.ticket(ticket, after=after)
    async with client.changes(ticket=ticket) as changes:
        await changes.opened()
        if in_json or not console().is_terminal:
            row = await _plainly(client, row, changes, in_json=in_json)
        else:
            row = await _live(client, row, changes)
    return 0 if row.state == "passed" else EXIT_FAILED


async def _plainly(client: Client, row: Ticket, changes: Changes, *, in_json: bool) -> Ticket:
    """How it is, and a line for each change."""
    said = ""
    while True:
        row = await client.ticket(row.ticket)
        how = f"{row.ticket} {row.state}: {progress(row)}"
        if how != said and not in_json:
            click.echo(how)
        said = how
        if row.has_ended:
            return row
        for change in await _next(changes):
            _tell(change, in_json=in_json)


async def _live(client: Client, row: Ticket, changes: Changes) -> Ticket:
    """A picture that changes."""
    latest: list[Change] = []
    out = console()
    tasks: list[Task] = []

    def picture() -> Group:
        return _picture(row, tasks, latest)

    with Live(get_renderable=picture, console=out, refresh_per_second=4, transient=True) as live:
        while True:
            row = await client.ticket(row.ticket, after=latest[-1].after if latest else None)
            tasks = [task async for task in client.tasks(row.ticket)]
            live.refresh()
            if row.has_ended:
                break
            latest = [*latest, *await _next(changes)][-LATEST:]
    out.print(_picture(row, tasks, []))
    return row


async def _next(changes: Changes) -> list[Change]:
    """The next change, and those that come directly after it."""
    found = [await anext(changes)]
    with suppress(TimeoutError):
        async with asyncio.timeout(TOGETHER):
            while True:
                found.append(await anext(changes))
    return found


def _picture(row: Ticket, tasks: list[Task], latest: list[Change]) -> Group:
    done = row.tasks - row.waiting - row.working
    bar = Progress(BarColumn(), TextColumn("{task.completed}/{task.total}"))
    bar.add_task("", total=row.tasks, completed=done)
    since = Text(_running(row), "dim")
    head = Text.assemble((row.ticket, "bold"), "  ", state(row.state), "  ", since)
    shown = sorted(tasks, key=_interest)[:SHOWN]
    shown.sort(key=lambda task: task.n)
    more = len(tasks) - len(shown)
    return Group(
        head,
        bar,
        table(TASKS, shown),
        *([Text(f"… and {more} more: {progress(row)}", "dim")] if more else ()),
        *(Text.assemble((f"{clock(one.time)}  ", "dim"), one.what) for one in latest),
    )


_INTEREST: Final = {"running": 0, "claimed": 0, "failed": 1, "timed_out": 1, "errored": 1}


def _interest(task: Task) -> tuple[int, int]:
    return _INTEREST.get(task.state, 2), task.n


def _running(row: Ticket) -> str:
    end = row.ended_at or datetime.now(UTC)
    return f"{(end - (row.started_at or row.opened_at)).total_seconds():.0f} s"


def _tell(change: Change, *, in_json: bool) -> None:
    if in_json:
        print_json(change)
        return
    line = Text.assemble(
        (f"{clock(change.time)}  ", "dim"),
        (f"{change.ticket}  ", "bold"),
        (f"{change.actor}  ", "cyan"),
        change.what,
    )
    console().print(line)
