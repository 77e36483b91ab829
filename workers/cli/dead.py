"""Dead letters: what was put aside, to be looked at and settled."""

import click
from rich.text import Text

from adapters.client import Client, DeadLetter
from workers.cli import main
from workers.cli.output import Column, ago, as_json, console, one_line, print_json, print_rows
from workers.cli.talking import talk
from workers.cli.tickets import limit

LETTERS: tuple[Column, ...] = (
    ("letter", lambda row: row.id),
    ("when", lambda row: ago(row.at)),
    ("what", lambda row: row.type or row.kind),
    ("stream", lambda row: row.stream or row.topic or ""),
    ("actor", lambda row: row.actor or ""),
    ("reason", lambda row: one_line(row.reason, 80)),
)
SETTLED: tuple[Column, ...] = (*LETTERS, ("settled", lambda row: _settled(row)))


def _settled(row: DeadLetter) -> Text:
    if row.settled is None:
        return Text("")
    why = f": {row.settled.why}" if row.settled.why else ""
    return Text.assemble(f"{row.settled.how} by {row.settled.by}{why} ", ago(row.settled.at))


@main.group(invoke_without_command=True)
@click.option("--settled", is_flag=True, help="Those that were injected again or dropped.")
@limit
@as_json
@click.pass_context
def dead(ctx: click.Context, settled: bool, limit: int, in_json: bool) -> None:
    """List dead letters, newest first; show, inject or drop one."""
    if ctx.invoked_subcommand is not None:
        return

    async def ask(client: Client) -> None:
        rows = client.dead_letters(settled=settled)
        none = "There is no dead letter."
        columns = SETTLED if settled else LETTERS
        await print_rows(rows, columns, limit=limit, in_json=in_json, none=none)

    talk(ask)


@dead.command()
@click.argument("letter")
@as_json
def show(letter: str, in_json: bool) -> None:
    """Show what a LETTER holds, and why it was put aside."""

    async def ask(client: Client) -> None:
        opened = await client.dead_letter(letter)
        if in_json:
            print_json(opened)
            return
        out, about = console(), opened.letter
        out.print(Text.assemble((about.id, "bold"), f"  {about.reason}"))
        for name in ("at", "kind", "topic", "partition", "position", "stream", "type", "actor"):
            if (value := getattr(about, name)) is not None:
                out.print(Text.assemble((f"  {name:<10}", "dim"), str(value)))
        for header in opened.headers:
            out.print(Text.assemble((f"  {header.name}: ", "dim"), header.value))
        content = opened.content
        out.print()
        out.print(Text(content.text if content.text is not None else content.base64 or ""))
        if content.cut:
            out.print(Text(f"… cut: it had {about.size} bytes", "dim"))

    talk(ask)


@dead.command()
@click.argument("letter", nargs=-1, required=True)
def inject(letter: tuple[str, ...]) -> None:
    """Send LETTERs again to where they belong; what was accepted after all changes nothing."""

    async def ask(client: Client) -> None:
        for one in letter:
            await client.inject(one)
            click.echo(f"{one}: injected")

    talk(ask)


@dead.command()
@click.argument("letter", nargs=-1, required=True)
@click.option("--reason", default="", help="Why.")
def drop(letter: tuple[str, ...], reason: str) -> None:
    """Have done with LETTERs; who dropped them and why is kept."""

    async def ask(client: Client) -> None:
        for one in letter:
            await client.drop(one, reason=reason)
            click.echo(f"{one}: dropped")

    talk(ask)
