"""Those who ask for tickets from their own code: one, or many thousands."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from .bulk import Answer, Batch, Openings, batches, send
from .client import PATIENCE, Client
from .closing import Closing
from .errors import Refused
from .rows import Accepted, Rejected
from .workflow import Opening

if TYPE_CHECKING:
    from .kafka import KafkaTicketProducer

AHEAD: Final = 3
"""Requests that are under way at a time."""


class TicketProducer(Closing):
    """Asks for tickets over HTTP. Sending one again is no harm: its id says that it is the same.

    Where the server is and what the token is, is said as for a Client.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._client = Client(base_url, token, patience=patience)

    @staticmethod
    def kafka(bootstrap: str, topic: str, *, source: str, **options: Any) -> "KafkaTicketProducer":
        """One that writes to a request topic of Kafka; see KafkaTicketProducer."""
        from .kafka import KafkaTicketProducer

        return KafkaTicketProducer(bootstrap, topic, source=source, **options)

    async def close(self) -> None:
        """End its connections."""
        await self._client.close()

    async def submit(self, opening: Opening) -> Accepted:
        """Open a ticket, whatever its size.

        Raises:
            Refused: it is not opened; Conflict, because its id is that of another.
            Unanswered: nobody has answered; submit the same again.
        """
        return await self._client.open(opening)

    async def submit_many(self, openings: Openings) -> AsyncGenerator[Answer]:
        """Open tickets, many with a request, and say in their order what became of each.

        Raises:
            Refused: all are refused, by the token for one.
            Unanswered: some have no answer; submit them again, from the first not spoken of.
        """
        under_way: deque[asyncio.Task[list[Answer]]] = deque()
        try:
            async for work in batches(openings):
                under_way.append(asyncio.create_task(self._send(work)))
                if len(under_way) == AHEAD:
                    for answer in await under_way[0]:
                        yield answer
                    under_way.popleft()
            while under_way:
                for answer in await under_way[0]:
                    yield answer
                under_way.popleft()
        finally:
            for sending in under_way:
                sending.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _send(self, work: Batch | Opening) -> list[Answer]:
        if isinstance(work, Batch):
            return await send(self._client.connection, work)
        try:
            return [await self._client.open(work)]
        except Refused as refused:
            return [Rejected(work.id, refused.problem)]
