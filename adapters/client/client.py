"""A client of the HTTP API: what is there, what happens, and what is to be done about it."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID, uuid4

from .closing import Closing
from .connection import Connection, path
from .errors import Refused
from .reading import Words
from .rows import Accepted, DeadLetter, Ticket, Token
from .steering import Steering, some
from .stream import Changes
from .workflow import encode_value

PATIENCE: Final = 30.0
"""Seconds for which an answer is worth waiting."""

ENDINGS: Final = tuple(
    f"turnstile.ticket.{end}"
    for end in ("passed", "failed", "errored", "cancelled", "superseded", "expired")
)
"""The types of the changes that end a ticket."""

LOOK: Final = 10.0
"""Seconds after which a ticket is looked at again, whatever the live stream says."""


class Client(Steering, Closing):
    """A server and what may be asked of it; the names of its methods are those of the API.

    The server is at `base_url`, or at TURNSTILE_URL, or on this machine; TURNSTILE_TOKEN is the
    token, unless there is a `token`. A change is made once: it has a `key` of its own, and is asked
    for with that key again and again until there is an answer, for `patience` seconds.

    Raises:
        Refused: what was asked is not done; see `turnstile.errors` for why.
        Unanswered: nobody has answered. With its `key`, the same can be asked again at any time.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(Connection(base_url, token, patience))
        self._streams: set[Changes] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.connection.url!r})"

    async def close(self) -> None:
        """End its streams and its connections."""
        for stream in tuple(self._streams):
            await stream.close()
        await self.connection.close()

    # ----------------------------------------------------------------------------- what happens

    def changes(
        self,
        *,
        ticket: Words = (),
        project: Words = (),
        type: Words = (),
        after_id: str | None = None,
    ) -> Changes:
        """What happens to these tickets, in these projects, of these types, until it is closed.

        It begins now, or behind `after_id`.
        """
        query = {"ticket": ticket, "project": project, "type": type}
        changes = Changes(self.connection, query, after_id, self._streams.discard)
        self._streams.add(changes)
        return changes

    async def wait(self, ticket: str | Accepted, timeout: float | None = None) -> Ticket:
        """The ticket when it has ended. Raises TimeoutError after so many seconds.

        One that was only just opened may not be there to be seen yet: name it by the answer.
        """
        name, after = (ticket, None) if isinstance(ticket, str) else (ticket.ticket, ticket.after)
        async with (
            asyncio.timeout(timeout),
            self.changes(ticket=name, type=ENDINGS) as changes,
        ):
            found = await self.ticket(name, after=after)
            if not found.has_ended:
                await _within(LOOK, changes.opened())
                while not (found := await self.ticket(name)).has_ended:
                    await _within(LOOK, _hear(changes))
            return found

    # ------------------------------------------------------------------- tokens and dead letters

    async def make_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        days: float | None = None,
        key: UUID | None = None,
    ) -> Token:
        """A token, with its secret, which is told this once."""
        body = encode_value(some(name=name, scopes=tuple(scopes), days=days))
        key = key or uuid4()
        return await self.connection.ask("POST", path("tokens"), Token, body=body, key=key)

    async def revoke_token(self, token: str, *, key: UUID | None = None) -> None:
        """Take nobody's word any more who shows the token of this id."""
        key = key or uuid4()
        await self.connection.ask("DELETE", path("tokens", token), Any, key=key)

    async def inject(self, letter: str, *, key: UUID | None = None) -> DeadLetter:
        """Have a dead letter sent again to where it belongs."""
        return await self._put_aside(letter, "inject", {}, key)

    async def drop(self, letter: str, *, reason: str = "", key: UUID | None = None) -> DeadLetter:
        """Have done with a dead letter."""
        return await self._put_aside(letter, "drop", some(reason=reason or None), key)

    async def _put_aside(
        self, letter: str, verb: str, body: dict[str, Any], key: UUID | None
    ) -> DeadLetter:
        return await self.connection.ask(
            "POST",
            path("dead", letter, verb),
            DeadLetter,
            body=encode_value(body),
            key=key or uuid4(),
        )


async def _hear(changes: Changes) -> None:
    """Wait for a change, for as long as the server tells of any."""
    with suppress(Refused, StopAsyncIteration):
        await anext(changes)
        return
    await asyncio.sleep(LOOK)


async def _within(seconds: float, waiting: Awaitable[Any]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting
