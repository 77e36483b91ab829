"""What there is: tickets, one of them, what waits, what tests said."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from rich.text import Text

from adapters.client import Client, Task, Ticket
from domain.ticket.automata import TicketState
from domain.ticket.words import Outcome
from workers.cli import main
from workers.cli.completing import TICKET
from workers.cli.output import (
    Column,
    ago,
    as_json,
    console,
    one_line,
    print_json,
    print_rows,
    state,
    table,
)
from workers.cli.talking import EXIT_MISSING, fail, talk

limit = click.option("--limit", type=click.IntRange(1, 100_000), default=30, show_default=True)


class Moment(click.ParamType[datetime]):
    """An instant, as `2026-11-21T12:00:00Z`, or how long ago: `90s`, `15m`, `2h`, `3d`."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", value):
            unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
            return datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
        try:
            then = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither an instant nor a time ago like 15m", param, ctx)
        return then if then.tzinfo else then.astimezone()


MOMENT = Moment()


def progress(row: Ticket) -> str:
    """How many of its tasks are where."""
    words = ("passed", "failed", "errored", "dropped", "working", "waiting")
    return ", ".join(f"{n} {word}" for word in words if (n := getattr(row, word)))


TICKETS: tuple[Column, ...] = (
    ("ticket", lambda row: row.ticket),
    ("state", lambda row: state(row.state)),
    ("subject", lambda row: f"{row.project} {row.name}"),
    ("revision", lambda row: one_line(row.revision, 12)),
    ("tasks", progress),
    ("opened", lambda row: ago(row.opened_at)),
    ("by", lambda row: one_line(row.opened_by, 20)),
)
TASKS: tuple[Column, ...] = (
    ("task", lambda row: row.task),
    ("state", lambda row: _state(row)),
    ("attempts", lambda row: str(row.attempts or "")),
    ("worker", lambda row: row.worker or ""),
    ("since", lambda row: ago(row.since)),
    ("why", lambda row: why(row)),
)
QUEUE: tuple[Column, ...] = (
    ("ticket", lambda row: row.ticket),
    ("task", lambda row: row.task),
    ("project", lambda row: row.project),
    ("waits since", lambda row: ago(row.ready_at)),
    ("requires", lambda row: requires(row)),
)
RESULTS: tuple[Column, ...] = (
    ("outcome", lambda row: state(row.outcome)),
    ("test case", lambda row: row.testcase),
    ("ticket", lambda row: row.ticket),
    ("task", lambda row: row.task),
    ("took", lambda row: "" if row.duration is None else f"{row.duration:.1f} s"),
    ("when", lambda row: ago(row.at)),
    ("summary", lambda row: one_line(row.summary)),
)


OTHERS: Final = 60
"""Columns that all but the last take in a table of tasks, about."""


def _state(row: Task) -> Text:
    return Text.assemble(state(row.state), "" if row.required else (", optional", "dim"))


def why(row: Task) -> str:
    """Why it is where it is, or what it waits for."""
    longest = max(60, console().width - OTHERS)
    if row.because:
        return f"needs {row.because}"
    if row.state == "blocked" and (needs := row.spec.get("needs")):
        return one_line(f"needs {', '.join(needs)}", longest)
    return one_line(row.reason, longest)


def requires(row: Task) -> str:
    """What a worker must be capable of."""
    wanted = row.spec.get("requires", {})
    return one_line("; ".join(f"{name}: {', '.join(values)}" for name, values in wanted.items()))


async def must_have(client: Client, ticket: str, task: str) -> None:
    """End if the ticket has no such task."""
    if task not in {one.task async for one in client.tasks(ticket)}:
        fail(EXIT_MISSING, f"the ticket has no task {task!r}")


@main.command()
@click.option(
    "--state",
    multiple=True,
    type=click.Choice([state.value for state in TicketState if state is not TicketState.ABSENT]),
)
@click.option("--project")
@click.option("--kind", help="pull_request, commit, package, build …")
@click.option("--name")
@click.option("--revision")
@click.option("--label", multiple=True, metavar="NAME=VALUE")
@click.option("--since", type=MOMENT, help=Moment.__doc__)
@click.option("--before", type=MOMENT)
@limit
@as_json
def tickets(limit: int, in_json: bool, **asked: Any) -> None:
    """List tickets, newest first."""

    async def ask(client: Client) -> None:
        rows = client.tickets(**asked)
        none = "No ticket is like that."
        await print_rows(rows, TICKETS, limit=limit, in_json=in_json, none=none)

    talk(ask)


@main.command()
@click.argument("ticket", type=TICKET)
@click.option("--version", type=click.IntRange(1), help="As it was at this version.")
@click.option("--at", type=MOMENT, help="As it was then.")
@as_json
def show(ticket: str, version: int | None, at: datetime | None, in_json: bool) -> None:
    """Show a TICKET and its tasks, as they are or as they were."""

    async def ask(client: Client) -> None:
        row = await client.ticket(ticket, version=version, at=at)
        tasks = [task async for task in client.tasks(ticket, version=version, at=at)]
        if in_json:
            print_json({"ticket": row, "tasks": tasks})
        else:
            print_ticket(row, tasks)

    talk(ask)


def print_ticket(row: Ticket, tasks: list[Task]) -> None:
    """A ticket for people."""
    out = console()
    out.print(
        Text.assemble((row.ticket, "bold"), "  ", state(row.state), f"  version {row.version}")
    )
    out.print(f"{row.kind} {row.name} of {row.project} at {row.revision}", markup=False)
    told: list[tuple[str, str | Text]] = [
        ("url", row.url or ""),
        ("labels", ", ".join(f"{name}={value}" for name, value in row.labels.items())),
        ("opened", Text.assemble(ago(row.opened_at), f" by {row.opened_by}")),
        ("waits for", ", ".join(row.waits_for)),
        ("priority", str(row.priority) if row.priority else ""),
        ("deadline", "" if row.ended_at else ago(row.deadline)),
        ("ended", ago(row.ended_at)),
        ("why", row.reason),
        ("superseded by", row.superseded_by or ""),
        ("tasks", progress(row)),
        ("problem", row.problem or ""),
    ]
    for name, value in told:
        if value:
            out.print(Text.assemble((f"  {name:<14}", "dim"), value))
    if tasks:
        out.print()
        out.print(table(TASKS, tasks))


@main.command()
@click.option("--project")
@click.option("--class", "class_", help="A class of requirements, as the rows have it.")
@limit
@as_json
def queue(project: str | None, class_: str | None, limit: int, in_json: bool) -> None:
    """List what waits for a worker, who is next first."""

    async def ask(client: Client) -> None:
        rows = client.queue(project=project, class_=class_)
        none = "Nothing waits for a worker."
        await print_rows(rows, QUEUE, limit=limit, in_json=in_json, none=none)

    talk(ask)


@main.command()
@click.argument("ticket", required=False, type=TICKET)
@click.option("--task")
@click.option("--testcase", help="Of this test case, whatever the ticket.")
@click.option("--project")
@click.option("--outcome", multiple=True, type=click.Choice([outcome.value for outcome in Outcome]))
@click.option("--since", type=MOMENT, help=Moment.__doc__)
@click.option("--before", type=MOMENT)
@limit
@as_json
def results(limit: int, in_json: bool, **asked: Any) -> None:
    """List what tests said, newest first: of a TICKET, or of a --testcase."""
    if not (asked["ticket"] or asked["testcase"]):
        raise click.UsageError("Name a TICKET, or a --testcase.")

    async def ask(client: Client) -> None:
        rows = client.results(**asked)
        none = "There is no such result."
        await print_rows(rows, RESULTS, limit=limit, in_json=in_json, none=none)

    talk(ask)
