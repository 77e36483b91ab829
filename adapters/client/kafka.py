"""Asking for tickets in a request topic of Kafka, where an intake finds them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors
from msgspec import Struct

from .bulk import Openings, each
from .client import PATIENCE
from .closing import Closing
from .connection import Waits
from .errors import (
    KIND,
    Forbidden,
    Invalid,
    NoAnswer,
    Problem,
    Refused,
    TooLarge,
    TurnstileError,
    Unavailable,
)
from .requests import Request, Requests
from .rows import Rejected
from .security import Security
from .workflow import Opening, encode_value

AHEAD: Final = 1_000
"""Tickets that are under way at a time."""

REQUEST: Final = 10.0
"""Seconds after which a request to a broker is given up."""

ENDING: Final = 3.0
BATCH: Final = 512 * 1024
HEADERS: Final = [("content-type", b"application/cloudevents+json")]
REFUSALS: Final[dict[type[Exception], tuple[type[Refused], int]]] = {
    errors.TopicAuthorizationFailedError: (Forbidden, 403),
    errors.ClusterAuthorizationFailedError: (Forbidden, 403),
    errors.MessageSizeTooLargeError: (TooLarge, 413),
    errors.RecordListTooLargeError: (TooLarge, 413),
}
FAILURES: Final = (errors.KafkaError, OSError, TimeoutError, AssertionError)
"""What aiokafka raises where the cluster is at fault, or a producer that it has given up."""


class Sent(Struct, frozen=True):
    """The brokers have the request; `id` is its CloudEvents id. It is decided when it is taken."""

    ticket: str
    id: str
    topic: str
    partition: int
    offset: int


class KafkaTicketProducer(Closing):
    """Writes to a request topic, durably; the same ticket again is the same request.

    `source` is a URI reference that names the program, as CloudEvents has it; `actor` on whose
    behalf it asks. What becomes of a ticket, its events tell: a request that is refused is found
    among the dead letters only where it makes no sense.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        source: str,
        actor: str | None = None,
        security: Security = Security(),  # noqa: B008 - it cannot change
        patience: float = PATIENCE,
    ) -> None:
        self.topic = topic
        self._bootstrap = bootstrap
        self._requests = Requests(source, actor)
        self._security = security
        self._patience = patience
        self._producer: Any = None
        self._starting = asyncio.Lock()

    async def close(self) -> None:
        """End its connections."""
        producer, self._producer = self._producer, None
        await _end(producer)

    async def submit(self, opening: Opening) -> Sent:
        """Ask for a ticket, whatever its size; returns when all of it is on the brokers' disks.

        Raises:
            Refused: it is wrong in itself, or the brokers do not take it.
            Unanswered: the brokers have not said that they have it; submit the same again.
        """
        first, *rest = self._requests.of(opening)
        sent = await self._deliver(opening.id, first)
        for request in rest:  # one after the other, and in the same place: their order counts
            await self._deliver(opening.id, request, sent.partition)
        return sent

    async def submit_many(self, openings: Openings) -> AsyncGenerator[Sent | Rejected]:
        """Ask for tickets, many at a time, and say in their order what became of each request.

        Raises as `submit`, but for tickets that are wrong in themselves.
        """
        group: list[Opening] = []
        async for opening in each(openings):
            group.append(opening)
            if len(group) == AHEAD:
                for sent in await self._deliver_all(group):
                    yield sent
                group = []
        for sent in await self._deliver_all(group):
            yield sent

    async def _deliver_all(self, group: list[Opening]) -> list[Sent | Rejected]:
        """Put all on the way; what does not arrive by that goes by itself."""
        under_way: list[tuple[Opening, Rejected | Request | None, Any]] = []
        for opening in group:
            try:
                first, *rest = self._requests.of(opening)
            except Invalid as error:
                under_way.append((opening, Rejected(opening.id, error.problem), None))
                continue
            try:
                sending = None if rest else await self._send(first)
            except FAILURES:
                sending = None
            under_way.append((opening, None if rest else first, sending))
        done: list[Sent | Rejected] = []
        for opening, request, sending in under_way:
            if isinstance(request, Rejected):
                done.append(request)
            elif request is None:
                done.append(await self.submit(opening))
            else:
                done.append(await self._arrived(opening, request, sending))
        return done

    async def _arrived(self, opening: Opening, request: Request, sending: Any) -> Sent:
        try:
            if sending is not None:
                return self._sent(opening.id, request, await sending)
        except FAILURES:
            pass
        return await self._deliver(opening.id, request)

    async def _deliver(self, ticket: str, request: Request, at: int | None = None) -> Sent:
        """The request's place in the topic. Raises Refused, Unanswered."""
        waits, heard = Waits(self._patience), False
        while True:
            try:
                async with asyncio.timeout(max(0.0, waits.left)):
                    sending = await self._send(request, at)
                    heard = True
                    return self._sent(ticket, request, await sending)
            except FAILURES as error:
                if type(error) in REFUSALS:
                    raise self._refused(error) from error
                await self.close()  # one that has failed is of no more use
                reason = str(error) or type(error).__name__
            if not await waits.wait():
                said = f"{self._bootstrap}: no answer in {self._patience:g} s: {reason}"
                raise (NoAnswer if heard else Unavailable)(said)

    async def _send(self, request: Request, at: int | None = None) -> Any:
        producer = await self._started()
        return await producer.send(
            self.topic, encode_value(request), request.subject.encode(), at, headers=HEADERS
        )

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap.split(","),
                    client_id="turnstile-client",
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=BATCH,
                    request_timeout_ms=int(REQUEST * 1e3),
                    **self._security.options(),
                )
                try:
                    await producer.start()
                except BaseException:
                    await _end(producer)
                    raise
                self._producer = producer
            return self._producer

    def _sent(self, ticket: str, request: Request, record: Any) -> Sent:
        return Sent(ticket, request.id, self.topic, record.partition, record.offset)

    def _refused(self, error: Exception) -> TurnstileError:
        kind, status = REFUSALS[type(error)]
        word = "forbidden" if status == 403 else "too-large"
        detail = f"The brokers do not take it: {error}."
        return kind(Problem(f"{KIND}{word}", "The brokers refuse it", status, detail))


async def _end(producer: Any) -> None:
    """End a producer in order, if that does not take too long."""
    if producer is not None:
        ending = asyncio.ensure_future(producer.stop())
        await asyncio.wait({ending}, timeout=ENDING)
        while not ending.done():  # each time, aiokafka ends one of its tasks and waits on
            ending.cancel()
            await asyncio.wait({ending}, timeout=0.1)
        if not ending.cancelled():
            ending.exception()
