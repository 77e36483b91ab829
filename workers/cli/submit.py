"""Tickets from files: check them, open them, and wait for what becomes of them."""

import sys
from collections.abc import Sequence

import click
import msgspec
from rich.text import Text

from adapters.client import Accepted, Client, Opening, Rejected, TicketProducer
from adapters.http.commands import Opening as ServerOpening
from adapters.ticket_files import FORMATS, Found, Unreadable, found, schema
from workers.cli import main
from workers.cli.output import as_json, console, print_json
from workers.cli.talking import EXIT_MISSING, EXIT_WRONG, fail, talk, talk_as
from workers.cli.watching import follow


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|DIR|-…")
@click.option("--format", "format_", type=click.Choice([*FORMATS]), help="If no ending tells it.")
@click.option("--id", "id_", help="The ticket's id; without one, it follows from the content.")
@click.option("--check", is_flag=True, help="Only say whether they are right; needs no service.")
@click.option("--watch", is_flag=True, help="Show its progress, and end as it does.")
@as_json
def submit(
    files: tuple[str, ...],
    format_: str | None,
    id_: str | None,
    check: bool,
    watch: bool,
    in_json: bool,
) -> None:
    """Open tickets from files in TOML, YAML or JSON, from directories of them, or from stdin.

    The same file again is the same ticket: it is no harm to submit it twice. All files are read
    and checked before the first ticket is opened.
    """
    try:
        tickets = list(found(list(files), sys.stdin.buffer.read, format_))
    except Unreadable as error:
        fail(EXIT_MISSING if error.missing else EXIT_WRONG, str(error))
    if id_ is not None:
        if len(tickets) != 1:
            raise click.UsageError(f"--id is for one ticket, and there are {len(tickets)}.")
        tickets = [_named(tickets[0], id_)]
    if watch and len(tickets) != 1:
        raise click.UsageError(f"--watch is for one ticket, and there are {len(tickets)}.")
    if check:
        for ticket in tickets:
            _tell_checked(ticket, in_json=in_json)
    elif len(tickets) == 1:
        _submit_one(tickets[0], watch=watch, in_json=in_json)
    else:
        _submit_many(tickets, in_json=in_json)


def _named(ticket: Found, id_: str) -> Found:
    """The same under another id."""
    try:
        opening = msgspec.convert(msgspec.to_builtins(ticket.opening) | {"id": id_}, ServerOpening)
    except msgspec.ValidationError:
        raise click.UsageError("--id is 1-128 of A-Z a-z 0-9 . _ : -") from None
    return Found(ticket.place, opening)


def _submit_one(ticket: Found, *, watch: bool, in_json: bool) -> None:
    async def ask(client: Client) -> None:
        accepted = await client.open(_wire(ticket))
        _tell(ticket, accepted, in_json=in_json)
        if watch:
            sys.exit(await follow(client, accepted.ticket, after=accepted.after))

    talk(ask)


def _submit_many(tickets: Sequence[Found], *, in_json: bool) -> None:
    refused: list[Rejected] = []

    async def ask(producer: TicketProducer) -> None:
        waiting = iter(tickets)
        async for answer in producer.submit_many(map(_wire, tickets)):
            _tell(next(waiting), answer, in_json=in_json)
            if isinstance(answer, Rejected):
                refused.append(answer)

    talk_as(TicketProducer, ask)
    if refused:
        fail(EXIT_WRONG, f"{len(refused)} of {len(tickets)} tickets were refused")


def _wire(ticket: Found) -> Opening:
    return msgspec.convert(msgspec.to_builtins(ticket.opening), Opening)


def _tell(ticket: Found, answer: Accepted | Rejected, *, in_json: bool) -> None:
    if in_json:
        print_json(answer)
    elif isinstance(answer, Rejected):
        click.echo(f"turnstile: {ticket.place}: {answer.problem.detail}", err=True)
    else:
        console().print(Text.assemble((answer.ticket, "bold"), f"  from {ticket.place}"))


def _tell_checked(ticket: Found, *, in_json: bool) -> None:
    if in_json:
        print_json(ticket.opening)
    else:
        tasks = len(ticket.opening.tasks)
        click.echo(f"{ticket.place}: {tasks} task{'s' * (tasks != 1)}, ticket {ticket.opening.id}")


@main.command("schema")
def schema_() -> None:
    """Print the JSON Schema of ticket files, for editors."""
    click.echo(msgspec.json.format(msgspec.json.encode(schema()), indent=2))
