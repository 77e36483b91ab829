"""Commands that talk to a service over HTTP: where it is, who asks, and what went wrong."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import click
import uvloop

from adapters.client import Client, TicketProducer, errors
from adapters.config import Config
from adapters.token_file import kept, token_file
from workers.cli import configuration

EXIT_FAILED: Final = 1
"""The ticket did not pass."""
EXIT_WRONG: Final = 65
"""What was given is wrong (EX_DATAERR)."""
EXIT_MISSING: Final = 66
"""There is no such ticket, worker or file (EX_NOINPUT)."""
EXIT_AWAY: Final = 69
"""The service is away (EX_UNAVAILABLE)."""
EXIT_CONFLICT: Final = 73
"""The ticket's state does not permit it (EX_CANTCREAT)."""
EXIT_LATER: Final = 75
"""Nobody has answered in time; the same again is safe (EX_TEMPFAIL)."""
EXIT_FORBIDDEN: Final = 77
"""The token is missing, or not for this (EX_NOPERM)."""

_EXITS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.Invalid, EXIT_WRONG),
    (errors.NotFound, EXIT_MISSING),
    (errors.Conflict, EXIT_CONFLICT),
    (errors.Unauthenticated, EXIT_FORBIDDEN),
    (errors.Forbidden, EXIT_FORBIDDEN),
    (errors.Unavailable, EXIT_AWAY),
    (errors.TurnstileError, EXIT_LATER),
)

_LISTS: Final = {
    "unknown-ticket": "`turnstile tickets` lists what there is.",
    "unknown-worker": "`turnstile worker list --all` lists them.",
    "unknown-version": "`turnstile history` tells of every version.",
    "unknown-token": "`turnstile token list` has their ids.",
    "no-such-letter": "`turnstile dead` lists them.",
    "http": "Is that an id? They are 1-128 of A-Z a-z 0-9 . _ : -",
}
"""Where to look for what there is, by what is not there."""

PATIENCE: Final = 15.0
"""Seconds that the service may take to answer."""


T = TypeVar("T", Client, TicketProducer)


def talk(asking: Callable[[Client], Awaitable[None]]) -> None:
    """Talk to the service as a client; see `talk_as`."""
    talk_as(Client, asking)


def talk_as(kind: type[T], asking: Callable[[T], Awaitable[None]]) -> None:
    """Talk to the service; end with a sentence and a status if it cannot be done.

    It is at TURNSTILE_URL, or where an API of this configuration listens. The token is
    TURNSTILE_TOKEN, or the one in the data directory.
    """
    config = configuration(quiet=True)
    url = config.url or f"http://{config.http}"

    async def ask() -> None:
        await _somebody_listens(url)
        async with kind(url, config.token or kept(config.data), patience=PATIENCE) as client:
            await asking(client)

    try:
        uvloop.run(ask())
    except errors.TurnstileError as error:
        fail(_status(error), str(error), _next_step(error, config, url))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more, which is no error: `turnstile queue | head`
        sys.exit(0)


async def _somebody_listens(url: str) -> None:
    """Whoever has mistyped an address, or not started a service, hears of it at once."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        raise errors.Unavailable(f"{url}: {str(error) or 'no answer'}") from error
    writer.close()


def fail(status: int, what: str, then: str = "") -> NoReturn:
    """Say what went wrong, and what to do about it."""
    click.echo(f"turnstile: {what}", err=True)
    if then:
        click.echo(f"  {then}", err=True)
    sys.exit(status)


def _status(error: Exception) -> int:
    if _is_foreign(error):
        return EXIT_AWAY
    return next(status for kind, status in _EXITS if isinstance(error, kind))


def _is_foreign(error: Exception) -> bool:
    return isinstance(error, errors.Refused) and error.problem.kind == errors.FOREIGN


def _next_step(error: Exception, config: Config, url: str) -> str:
    if _is_foreign(error):
        return "Is another program there? TURNSTILE_HTTP or TURNSTILE_URL says where Turnstile is."
    match error:
        case errors.Unavailable():
            return (
                f"Is it running at {url}? `turnstile up` starts it here, TURNSTILE_URL says where "
                "else it is, and `turnstile doctor` what is wrong."
            )
        case errors.NoAnswer():
            return "`turnstile doctor` says what is wrong; the same again is safe."
        case errors.Unauthenticated():
            return (
                "Set TURNSTILE_TOKEN to one that `turnstile token make NAME` prints, or run this "
                f"where {token_file(config.data)} is."
            )
        case errors.Forbidden():
            return "`turnstile token make NAME --scope …` makes one that may, by who is an admin."
        case errors.NotFound(problem=problem):
            return _LISTS.get(problem.kind, "")
    return ""
