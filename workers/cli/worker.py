"""Workers: who is there, what they are at; drained and resumed."""

from collections.abc import Awaitable, Callable

import click
from rich.text import Text

from adapters.client import Client, Steered, Worker, WorkerState
from workers.cli import main
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
from workers.cli.steering import reason
from workers.cli.talking import talk
from workers.cli.tickets import limit

THERE = (WorkerState.AVAILABLE, WorkerState.DRAINING)
"""The states of a worker that is there."""


def _capabilities(row: Worker) -> str:
    return " ".join(f"{what}={','.join(values)}" for what, values in row.capabilities.items())


WORKERS: tuple[Column, ...] = (
    ("worker", lambda row: row.worker),
    ("state", lambda row: state(row.state)),
    ("since", lambda row: ago(row.since)),
    ("slots", lambda row: str(row.slots)),
    ("capabilities", lambda row: one_line(_capabilities(row), 80)),
    ("reason", lambda row: one_line(row.reason)),
)
ATTEMPTS: tuple[Column, ...] = (
    ("ticket", lambda row: row.ticket),
    ("task", lambda row: row.task),
    ("attempt", lambda row: str(row.number)),
    ("state", lambda row: state("running" if row.started_at else "claimed")),
    ("since", lambda row: ago(row.started_at or row.claimed_at)),
)


@main.group()
def worker() -> None:
    """List workers; show, drain or resume one."""


@worker.command("list")
@click.option("--all", "also_gone", is_flag=True, help="Those that are gone too.")
@limit
@as_json
def list_(also_gone: bool, limit: int, in_json: bool) -> None:
    """List workers, by their names."""

    async def ask(client: Client) -> None:
        rows = client.workers(state=() if also_gone else THERE)
        none = "There is no worker."
        await print_rows(rows, WORKERS, limit=limit, in_json=in_json, none=none)

    talk(ask)


@worker.command()
@click.argument("name")
@as_json
def show(name: str, in_json: bool) -> None:
    """Show the worker of this NAME, and what it is at."""

    async def ask(client: Client) -> None:
        found = await client.worker(name)
        if in_json:
            print_json(found)
            return
        out, row = console(), found.worker
        why = f": {row.reason}" if row.reason else ""
        out.print(
            Text.assemble(
                *((row.worker, "bold"), "  ", state(row.state), " since ", ago(row.since), why)
            )
        )
        for what, said in (
            ("slots", str(row.slots)),
            ("capabilities", _capabilities(row)),
            ("registered", ago(row.registered_at)),
            ("session", row.session),
            ("home", row.home),
            ("problem", row.problem),
        ):
            if said:
                out.print(Text.assemble((f"  {what:<12}  ", "dim"), said))
        out.print()
        if found.attempts:
            out.print(table(ATTEMPTS, found.attempts))
        else:
            out.print(Text("It is at nothing.", "dim"))

    talk(ask)


def _say(asking: Callable[[Client], Awaitable[Steered]], done: str, in_json: bool) -> None:
    async def ask(client: Client) -> None:
        steered = await asking(client)
        if in_json:
            print_json(steered)
        else:
            click.echo(f"{steered.worker}: {done}")

    talk(ask)


@worker.command()
@click.argument("name")
@reason
@as_json
def drain(name: str, reason: str, in_json: bool) -> None:
    """Let the worker NAME finish what it has, and claim nothing more."""
    _say(lambda client: client.drain(name, reason=reason), "draining", in_json)


@worker.command()
@click.argument("name")
@reason
@as_json
def resume(name: str, reason: str, in_json: bool) -> None:
    """Let the worker NAME claim again."""
    _say(lambda client: client.resume(name, reason=reason), "available", in_json)
