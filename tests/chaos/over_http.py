"""What is asked through the API, by the clients that its users have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec

from adapters.client import Accepted, Client, Opening, Refused, TicketProducer, Unanswered
from domain.event import Command
from domain.ticket import commands as c

TOO_LATE = "too-late"


class OverHttp:
    """Asks until there is an answer that counts."""

    def __init__(self, client: Client, producer: TicketProducer) -> None:
        self._client = client
        self._producer = producer
        self.accepted: list[Accepted] = []

    async def ask(self, ticket: str, command: Command, key: UUID) -> Accepted:
        """The answer; asked again where it came too late to count. Raises Refused."""
        while True:
            try:
                accepted = await self._send(ticket, command, key)
            except Unanswered:
                continue
            except Refused as refused:
                if refused.problem.kind != TOO_LATE:
                    raise
            else:
                self.accepted.append(accepted)
                return accepted

    async def _send(self, ticket: str, command: Command, key: UUID) -> Accepted:
        match command:
            case c.Open():
                opening = msgspec.convert(msgspec.to_builtins(command) | {"id": ticket}, Opening)
                if key.int % 2:  # half of them by a client that has a key of its own each time
                    return await self._producer.submit(opening)
                return await self._client.open(opening, key=key)
            case c.Rerun():
                return await self._client.rerun(ticket, key=key)
            case c.Hold():
                return await self._client.hold(ticket, key=key)
            case c.Unhold():
                return await self._client.unhold(ticket, key=key)
            case c.Cancel(reason=reason):
                return await self._client.cancel(ticket, reason=reason, key=key)
            case _:
                raise AssertionError(f"{command} is not for those who come over HTTP")


@asynccontextmanager
async def over_http(url: str, token: str) -> AsyncIterator[OverHttp]:
    """Both clients, with a token."""
    async with Client(url, token) as client, TicketProducer(url, token) as producer:
        yield OverHttp(client, producer)
