"""Many tickets in one request: a line each, and a line for the answer to each."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from .connection import LATER, NOT_SENT, Connection, Waits, lines, path
from .errors import Invalid, NoAnswer, Problem, Refused, Unavailable
from .parts import PART
from .rows import Accepted, Rejected
from .workflow import Opening, encode

LINES: Final = 1_000
"""Tickets of one request. Their answers fit into what is on the way, should nobody read them."""

BYTES: Final = 4 * 1024 * 1024
"""Bytes of one request, about."""

HEADERS: Final = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}

Answer = Accepted | Rejected
Openings = Iterable[Opening] | AsyncIterable[Opening]


class Line(Struct):
    """What is answered to a line."""

    line: int
    ticket: str | None = None
    version: int = 0
    partition: int = 0
    sequence: int = 0
    after: str = ""
    problem: Problem | None = None


class Batch:
    """Tickets that are sent together: their answers, and the lines that have none yet."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.lines: dict[int, bytes] = {}
        self.tickets: list[str] = []
        self._size = 0

    def add(self, ticket: str, line: bytes) -> None:
        self.lines[len(self.answers)] = line
        self.tickets.append(ticket)
        self.answers.append(None)
        self._size += len(line) + 1

    def refuse(self, ticket: str, problem: Problem) -> None:
        """It is wrong before anybody is asked."""
        self.tickets.append(ticket)
        self.answers.append(Rejected(ticket, problem))

    def take(self, place: int, said: Line) -> None:
        """The answer to a line."""
        del self.lines[place]
        ticket = self.tickets[place]
        if said.problem is not None:
            self.answers[place] = Rejected(ticket, said.problem)
        else:
            self.answers[place] = Accepted(
                ticket, said.version, said.partition, said.sequence, said.after
            )

    @property
    def is_full(self) -> bool:
        return len(self.answers) >= LINES or self._size >= BYTES


_line: Final = msgspec.json.Decoder(Line).decode


async def batches(openings: Openings) -> AsyncIterator[Batch | Opening]:
    """The tickets in their order: many together, and one by itself that is large."""
    batch = Batch()
    async for opening in each(openings):
        try:
            line = encode(opening)
        except Invalid as error:
            batch.refuse(opening.id, error.problem)
        else:
            if len(line) > PART:
                if batch.answers:
                    yield batch
                    batch = Batch()
                yield opening
                continue
            batch.add(opening.id, line)
        if batch.is_full:
            yield batch
            batch = Batch()
    if batch.answers:
        yield batch


async def send(connection: Connection, batch: Batch) -> list[Answer]:
    """What became of each. Lines without an answer are sent again, as long as others have some.

    Raises Refused for all of them, Unavailable, NoAnswer.
    """
    waits, heard, reason = Waits(connection.patience), False, ""
    while batch.lines:
        at_least = None
        try:
            await _ask(connection, batch, waits)
            heard, reason = True, "the answer ends early"
        except Refused as refused:
            if refused.problem.status not in LATER:
                raise
            heard = heard or refused.problem.status != 503
            reason, at_least = str(refused), refused.retry_after
        except NOT_SENT as error:
            reason = str(error)
        except (httpx.TransportError, TimeoutError) as error:
            heard, reason = True, str(error) or type(error).__name__
        if batch.lines and not await waits.wait(at_least):
            first = batch.tickets[next(iter(batch.lines))]
            raise (NoAnswer if heard else Unavailable)(
                f"{connection.url}: {len(batch.lines)} tickets, from {first!r} on, have no answer "
                f"after {connection.patience:g} s: {reason}"
            )
    return [answer for answer in batch.answers if answer is not None]


async def _ask(connection: Connection, batch: Batch, waits: Waits) -> None:
    """Ask once for all that have no answer yet."""
    places = list(batch.lines)
    body = b"\n".join(batch.lines.values()) + b"\n"
    clock = asyncio.get_running_loop().time
    async with (
        asyncio.timeout(max(0.0, waits.left)) as limit,
        connection.streaming("POST", path("tickets"), body=body, headers=HEADERS) as answer,
        aclosing(lines(answer)) as read,
    ):
        async for line in read:
            if not line:
                continue
            said = _understood(line, len(places))
            if said.problem is None or said.problem.status not in LATER:
                batch.take(places[said.line - 1], said)
                waits.begin_anew()
                if (limit.when() or 0.0) < clock() + connection.patience / 2:
                    limit.reschedule(clock() + connection.patience)


def _understood(line: bytes, lines: int) -> Line:
    try:
        said = _line(line)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NoAnswer(f"a line of the answer is none of Turnstile's: {error}") from error
    if not 1 <= said.line <= lines:
        raise NoAnswer(f"there is an answer to line {said.line}, and there are {lines} lines")
    return said


async def each(openings: Openings) -> AsyncIterator[Opening]:
    """The tickets, from whatever they come."""
    if isinstance(openings, AsyncIterable):
        async for opening in openings:
            yield opening
    else:
        for opening in openings:
            yield opening
