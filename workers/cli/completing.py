"""Completion: what a shell may put there, and what it runs to know."""

import asyncio
import os
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from adapters.client import Client, TurnstileError
from adapters.config import ConfigError, read
from adapters.token_file import kept
from workers.cli import main

QUICK: Final = 1.0
"""Seconds that a person who has pressed a key waits."""

MOST: Final = 50


class TicketId(click.ParamType[str]):
    """The id of a ticket; the newest of them are offered."""

    name = "TICKET"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Tickets that begin so, of the newest ones."""
        try:
            return asyncio.run(_newest(incomplete))
        except (TurnstileError, ConfigError, TimeoutError):
            return []


async def _newest(incomplete: str) -> list[CompletionItem]:
    config = read(os.environ)
    found: list[CompletionItem] = []
    url = config.url or f"http://{config.http}"
    async with asyncio.timeout(QUICK), Client(url, config.token or kept(config.data)) as client:
        n = 0
        async for row in client.tickets():
            if row.ticket.startswith(incomplete):
                help_ = f"{row.state}: {row.project} {row.name}"
                found.append(CompletionItem(row.ticket, help=help_))
            n += 1
            if len(found) == MOST or n == 500:
                break
    return found


TICKET: Final = TicketId()


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a SHELL complete commands, options and tickets.

    \b
    bash: eval "$(turnstile completion bash)"        in ~/.bashrc
    zsh:  eval "$(turnstile completion zsh)"         in ~/.zshrc
    fish: turnstile completion fish | source         in ~/.config/fish/config.fish
    """  # noqa: D301 - click's mark for lines that stay as they are
    kind: Any = get_completion_class(shell)
    click.echo(kind(main, {}, "turnstile", "_TURNSTILE_COMPLETE").source())
