"""What a request for something of an attempt is about, and whether the attempt is still at work."""

from collections.abc import Awaitable, Callable
from typing import Final

from adapters.credentials import AttemptOf
from adapters.http.endpoint import Asked
from adapters.http.problems import Refusal

Present = Callable[[str, int], Awaitable[bool]]
"""Whether the attempt of this ticket and token has its lease."""

_MOST: Final = 2**31 - 1


async def at_work(asked: Asked, present: Present) -> AttemptOf:
    """Whose credential it is, as long as the attempt has its lease. Raises Refusal."""
    attempt = asked.attempt
    assert attempt is not None  # nobody else is let in
    if not await present(attempt.ticket, attempt.token):
        raise Refusal(
            409,
            "stale-token",
            f"The attempt with token {attempt.token} of task {attempt.task!r} of ticket "
            f"{attempt.ticket!r} has its lease no more.",
            "token",
        )
    return attempt


def token_of(ticket: str, token: str) -> int:
    """The token as a number. Raises Refusal if it can be none."""
    if token.isdecimal() and token.isascii() and int(token) <= _MOST:
        return int(token)
    raise no_attempt(ticket, token)


def no_attempt(ticket: str, token: str | int) -> Refusal:
    """There is none of this token."""
    detail = f"There is no attempt with token {token} of a ticket {ticket!r}."
    return Refusal(404, "unknown-attempt", detail, "token")
