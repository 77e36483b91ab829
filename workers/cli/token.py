"""Tokens: who may do what over HTTP."""

import asyncio
import os

import click
from rich.text import Text

from adapters.access import Scope
from adapters.client import Client, Token
from adapters.config import Config
from adapters.log import LogError
from workers.cli import configuration, main
from workers.cli.output import Column, ago, as_json, print_json, print_rows
from workers.cli.talking import EXIT_AWAY, fail, talk
from workers.compose import tokens_of

scopes = click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[Scope.SUBMIT.value],
    show_default=True,
    help="What it is for; may be given several times.",
)


@main.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command()
@click.argument("name")
@scopes
@click.option("--days", type=click.FloatRange(0, 3_660, min_open=True), help="Good for so long.")
@click.option("--direct", is_flag=True, help="In the database, not over HTTP: when none is left.")
@as_json
def make(
    name: str, scopes: tuple[str, ...], days: float | None, direct: bool, in_json: bool
) -> None:
    """Make a token for NAME, who is the actor of what is done with it, and print it, once."""
    if direct:
        click.echo(asyncio.run(_make_directly(configuration(quiet=True), name, scopes, days)))
        return

    async def ask(client: Client) -> None:
        made = await client.make_token(name, scopes, days=days)
        if in_json:
            print_json(made)
        else:
            click.echo(made.token)
            for_ = ", ".join(made.scopes)
            click.echo(f"It is shown this once: {made.id}, {made.name}'s, for {for_}", err=True)

    talk(ask)


async def _make_directly(
    config: Config, name: str, scopes: tuple[str, ...], days: float | None
) -> str:
    try:
        async with tokens_of(config) as tokens:
            kinds = tuple(Scope(scope) for scope in scopes)
            _, secret = await tokens.make(name, kinds, os.environ.get("USER", "the operator"), days)
            return secret
    except LogError as error:
        fail(EXIT_AWAY, str(error))


TOKENS: tuple[Column, ...] = (
    ("id", lambda row: row.id),
    ("name", lambda row: row.name),
    ("scopes", lambda row: ", ".join(row.scopes)),
    ("made", lambda row: ago(row.created_at)),
    ("used", lambda row: ago(row.last_used_at)),
    ("good", lambda row: _good(row)),
)


def _good(row: Token) -> Text:
    if row.revoked_at is not None:
        return Text.assemble(("revoked ", "bold red"), ago(row.revoked_at))
    if row.expires_at is None:
        return Text("until revoked", "green")
    return Text.assemble("ends ", ago(row.expires_at))


@token.command("list")
@as_json
def list_(in_json: bool) -> None:
    """List tokens, newest first; never the tokens themselves."""

    async def ask(client: Client) -> None:
        none = "There is no token."
        await print_rows(client.tokens(), TOKENS, limit=1_000, in_json=in_json, none=none)

    talk(ask)


@token.command()
@click.argument("token_id")
def revoke(token_id: str) -> None:
    """Have the token of this TOKEN_ID good for nothing any more."""

    async def ask(client: Client) -> None:
        await client.revoke_token(token_id)
        click.echo(f"{token_id}: revoked")

    talk(ask)
