"""What is done to tickets: cancel, run again, hold, hurry, take from a worker."""

from collections.abc import Awaitable, Callable

import click

from adapters.client import Accepted, Client, Scope, TicketState
from workers.cli import main
from workers.cli.completing import TICKET
from workers.cli.output import as_json, print_json
from workers.cli.talking import EXIT_CONFLICT, fail, talk
from workers.cli.tickets import must_have

reason = click.option("--reason", default="", help="Why: the history tells it.")


def _say(asking: Callable[[Client], Awaitable[Accepted]], done: str, in_json: bool) -> None:
    async def ask(client: Client) -> None:
        accepted = await asking(client)
        if in_json:
            print_json(accepted)
        else:
            click.echo(f"{accepted.ticket}: {done}")

    talk(ask)


@main.command()
@click.argument("ticket", type=TICKET)
@click.argument("task", nargs=-1)
@reason
@as_json
def cancel(ticket: str, task: tuple[str, ...], reason: str, in_json: bool) -> None:
    """End a TICKET, or only the TASKs named; one that has ended stays as it is."""

    async def ask(client: Client) -> None:
        before = await client.ticket(ticket)
        accepted = await client.cancel(ticket, *task, reason=reason)
        if in_json:
            print_json(accepted)
        elif before.has_ended and before.state != TicketState.CANCELLED:
            click.echo(f"{ticket}: has ended as {before.state}; nothing is changed")
        else:
            click.echo(f"{ticket}: cancelled")

    talk(ask)


@main.command()
@click.argument("ticket", type=TICKET)
@click.argument("task", nargs=-1)
@click.option("--failed", is_flag=True, help="Only what has not passed.")
@reason
@as_json
def rerun(ticket: str, task: tuple[str, ...], failed: bool, reason: str, in_json: bool) -> None:
    """Run a TICKET again, or only the TASKs named, with what needs them."""
    if failed and task:
        raise click.UsageError("Name the tasks, or say --failed.")
    scope = Scope.FAILED if failed else None
    _say(
        lambda client: client.rerun(ticket, *task, scope=scope, reason=reason),
        "runs again",
        in_json,
    )


@main.command()
@click.argument("ticket", type=TICKET)
@click.argument("task", nargs=-1)
@click.option("--release", is_flag=True, help="Open the gate again.")
@reason
@as_json
def hold(ticket: str, task: tuple[str, ...], release: bool, reason: str, in_json: bool) -> None:
    """Close a gate before what waits in a TICKET, or before the TASKs named."""
    if release:
        _say(lambda client: client.unhold(ticket, *task, reason=reason), "released", in_json)
    else:
        _say(lambda client: client.hold(ticket, *task, reason=reason), "held", in_json)


@main.command()
@click.argument("ticket", type=TICKET)
@click.argument("task")
@reason
@as_json
def revoke(ticket: str, task: str, reason: str, in_json: bool) -> None:
    """Take a TASK of a TICKET from its worker, for another attempt; that costs no retry."""

    async def ask(client: Client) -> Accepted:
        attempts = [one async for one in client.attempts(ticket, task=task)]
        under_way = [one for one in attempts if one.ended_at is None]
        if not under_way:
            await must_have(client, ticket, task)
            fail(EXIT_CONFLICT, f"nobody has task {task!r} of ticket {ticket!r}")
        return await client.revoke(ticket, under_way[0].token, reason=reason)

    _say(ask, f"{task} is taken from its worker", in_json)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("ticket", type=TICKET)
@click.argument("priority", type=click.IntRange(-1_000_000, 1_000_000))
@reason
@as_json
def priority(ticket: str, priority: int, reason: str, in_json: bool) -> None:
    """Move a TICKET in the queue: a higher PRIORITY is sooner."""
    _say(
        lambda client: client.prioritise(ticket, priority, reason=reason),
        f"has priority {priority}",
        in_json,
    )
