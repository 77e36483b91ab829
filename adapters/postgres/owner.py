"""The right to append to one partition: an epoch in its row, checked in every commit."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic

import asyncpg
import msgspec

from adapters.codec import Codec, Undecodable
from adapters.log import Decided, Gap, Genesis, Received, Rejected, Reply
from adapters.postgres.connection import Address, Bell, translated
from adapters.postgres.read import PAGE, PAGE_BYTES, read
from adapters.postgres.sharing import Held
from adapters.postgres.statements import load
from domain.envelope import Recorded, Submitted

SQL = load("log")
PAYLOAD = 7_900
"""Bytes that a notification may carry, with some to spare."""

POLL = 0.5
"""Seconds after which a reader looks by itself."""

RETENTION = timedelta(days=14)
"""For how long decided commands can be looked at."""

FORGET = 60.0
"""Seconds between looks for commands that are older."""


class PostgresOwner:
    """Owns a partition, until its epoch is over."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        bell: Bell,
        held: Held,
        genesis: Genesis,
    ) -> None:
        self.partition = held.partition
        self.genesis = genesis
        self.epoch = held.epoch
        self._address = address
        self._codec = codec
        self._bell = bell
        self._held = held
        self._connection = held.connection
        self._fence = self._sequence = held.sequence
        self._position = 0
        self._decided = 0
        self.forget_every = FORGET
        self._forgot = monotonic()
        self._rung = asyncio.Event()
        self._channel = address.channel("commands")
        bell.subscribe(self._channel, self._ring)

    def _ring(self, payload: str) -> None:
        if payload == str(self.partition):
            self._rung.set()

    async def history(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        """All events behind sequence *after* that were committed before the fence."""
        while after < self._fence:
            page = await read(self._connection, self._codec, self.partition, after, PAGE)
            if not page:
                raise Gap(f"partition {self.partition} has nothing behind {after}")
            yield page
            after = page[-1].sequence

    async def resume(self, upto: int) -> int:
        """Begin to receive behind the last decided position, *upto* at the least."""
        with translated():
            position = await self._connection.fetchval(SQL["position"], self.partition, self.epoch)
        if position is None:
            raise self._held.lost()
        self._position = self._decided = max(position, upto)
        return self._position

    async def receive(self, limit: int, timeout: float) -> Sequence[Received]:
        """The next commands in order; none if none came within *timeout* seconds."""
        deadline = monotonic() + timeout
        if monotonic() >= self._forgot + self.forget_every:
            await self._forget()
        while True:
            self._rung.clear()
            with translated():
                rows = await self._connection.fetch(
                    SQL["receive"], self.partition, self._position, limit, PAGE_BYTES
                )
            if rows:
                self._position = rows[-1]["position"]
                return [self._received(row) for row in rows]
            left = deadline - monotonic()
            if left <= 0:
                return []
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, POLL)):
                    await self._rung.wait()

    async def _forget(self) -> None:
        with translated():
            await self._connection.execute(SQL["forget"], self.partition, self._decided, RETENTION)
        self._forgot = monotonic()

    def _received(self, row: asyncpg.Record) -> Received:
        position, at, id_, stream, topic, schema, actor, patience, reply_to, trace, data = row
        try:
            command = self._codec.decode_command(topic, schema, data)
        except Undecodable as problem:
            return Received(
                position=position,
                at=at,
                submitted=None,
                problem=str(problem),
                id=id_,
                reply_to=reply_to,
            )
        return Received(
            position=position,
            at=at,
            submitted=Submitted(
                id=id_,
                stream=stream,
                command=command,
                actor=actor,
                patience=patience,
                reply_to=reply_to,
                traceparent=trace,
            ),
        )

    async def commit(self, decided: Decided) -> None:
        """Make it true and reply, in one statement, so that a pause inside it holds no locks."""
        facts = [one.recorded for one in decided.events]
        notes = _notes(decided.replies, self._address)
        if facts or not notes:
            notes.append((self._address.channel("events"), str(self.partition)))
        with translated(), _rejected():
            owned = await self._connection.fetch(
                SQL["commit"],
                self.partition,
                self.epoch,
                decided.upto,
                self._sequence,
                len(facts),
                [fact.sequence for fact in facts],
                [fact.originator_id for fact in facts],
                [fact.originator_version for fact in facts],
                [fact.event.topic for fact in facts],
                [fact.event.class_version for fact in facts],
                [fact.id for fact in facts],
                [fact.causationid for fact in facts],
                [fact.time for fact in facts],
                [fact.actor for fact in facts],
                [fact.traceparent for fact in facts],
                [one.data for one in decided.events],
                [letter.received.position for letter in decided.dead],
                [letter.reason for letter in decided.dead],
                [channel for channel, _ in notes],
                [payload for _, payload in notes],
            )
        if not owned:
            raise self._held.lost()
        self._sequence += len(facts)
        self._decided = decided.upto

    async def release(self) -> None:
        """Give the partition back."""
        self._bell.unsubscribe(self._channel, self._ring)
        await self._held.release()


@contextmanager
def _rejected() -> Iterator[None]:
    """What PostgreSQL says of the data itself."""
    try:
        yield
    except (
        asyncpg.DataError,
        asyncpg.IntegrityConstraintViolationError,
        asyncpg.ProgramLimitExceededError,
    ) as error:
        raise Rejected(f"PostgreSQL: {error}") from error


def _notes(replies: Sequence[Reply], address: Address) -> list[tuple[str, str]]:
    """Replies as notifications, as many in each as it can carry."""
    notes: list[tuple[str, str]] = []
    packed: dict[str, list[bytes]] = {}
    filled: dict[str, int] = {}
    for reply in replies:
        encoded = msgspec.json.encode(reply.answer)
        if filled.get(reply.address, 0) + len(encoded) > PAYLOAD:
            notes.append((reply.address, _array(packed.pop(reply.address))))
            filled[reply.address] = 0
        packed.setdefault(reply.address, []).append(encoded)
        filled[reply.address] = filled.get(reply.address, 0) + len(encoded) + 1
    notes += ((to, _array(answers)) for to, answers in packed.items())
    return [(address.channel(to), payload) for to, payload in notes]


def _array(encoded: Sequence[bytes]) -> str:
    return f"[{b','.join(encoded).decode()}]"
