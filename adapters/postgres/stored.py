"""The tables of the log as `eventsourcing` sees them: stored events, notifications, tracking.

A row that an engine wrote, or our Mapper, is the record of its columns: the same bytes as the
Mapper makes. A row of any other application has its bytes only, and NULL in the other columns.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg
import msgspec
from eventsourcing.persistence import (
    DataError,
    Notification,
    ProgrammingError,
    StoredEvent,
    Tracking,
)
from msgspec import Raw

from adapters import cloudevents
from adapters.cloudevents import SOURCE, CloudEvent
from adapters.codec import RECORD_LIMIT, CodecError
from adapters.library import AlreadyTracked, PartitionOwned
from adapters.postgres.connection import Address, Bell, open_pool, translated
from adapters.postgres.owner import POLL
from adapters.postgres.statements import load
from domain.envelope import partition_of

if TYPE_CHECKING:
    from adapters.postgres.connection import AnyConnection

SQL: Final = load("recorder")
LOG: Final = load("log")
POOL: Final = 10

_json: Final = msgspec.json.Decoder(Raw).decode


class StoredEvents:
    """The log's events, to be read, and to be written where no engine is."""

    def __init__(self, address: Address, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.address = address
        self.partitions = 0
        """Of the log, once it is known."""
        self.home: int | None = None
        """The partition that was said to be the application's own."""
        self._pool = pool
        self._bell = Bell(address)
        self._listening: asyncio.Task[None] | None = None

    async def insert(
        self, events: Sequence[StoredEvent], tracking: Tracking | None = None
    ) -> list[int]:
        """Append all of *events* and *tracking*, or nothing; return the events' sequences.

        Readers meet the events in the order of their sequences, since these are given under the
        lock of the partition's head row, which is held until they are committed.
        """
        rows = [_row(event) for event in events]
        homes = [partition_of(event.originator_id, self.partitions) for event in events]
        if not events and tracking is None:
            return []
        with translated():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="read_committed"),
            ):
                if tracking is not None:
                    await _track(connection, tracking)
                if not events:
                    return []
                heads = await _lock(connection, set(homes))
                sequences = []
                for home in homes:
                    heads[home] += 1
                    sequences.append(heads[home])
                await connection.execute(
                    SQL["insert_events"],
                    homes,
                    sequences,
                    *map(list, zip(*rows, strict=True)),
                    list(heads),
                    list(heads.values()),
                    self.address.channel("events"),
                )
        return sequences

    async def select(
        self,
        stream: str,
        gt: int | None,
        lte: int | None,
        limit: int | None,
        *,
        desc: bool,
    ) -> list[StoredEvent]:
        """The stream's events with versions behind *gt* and up to *lte*."""
        statement = SQL["select_events"].format(direction="DESC" if desc else "ASC")
        home = partition_of(stream, self.partitions)
        with translated():
            rows = await self._pool.fetch(statement, home, stream, gt, lte, limit)
        return [
            StoredEvent(stream, row["originator_version"], row["topic"], _state(row))
            for row in rows
        ]

    async def notifications(
        self, partition: int, start: int, stop: int | None, topics: Sequence[str], limit: int
    ) -> list[Notification]:
        """The partition's events from sequence *start* up to *stop*, of these topics if any."""
        with translated():
            rows = await self._pool.fetch(
                SQL["select_notifications"], partition, start, stop, list(topics), limit
            )
        return [
            Notification(
                row["originator_id"],
                row["originator_version"],
                row["topic"],
                _state(row),
                id=row["sequence"],
            )
            for row in rows
        ]

    async def end(self, partition: int) -> int:
        """The sequence of the partition's last event, 0 if there is none."""
        with translated():
            return int(await self._pool.fetchval(LOG["end"], partition))

    async def track(self, tracking: Tracking) -> None:
        """Move the mark of how far another log was processed. Raises AlreadyTracked."""
        with translated():
            async with self._pool.acquire() as connection:
                await _track(connection, tracking)

    async def tracked(self, application_name: str) -> int | None:
        """How far the log of that name was processed."""
        with translated():
            found: int | None = await self._pool.fetchval(SQL["max_tracking_id"], application_name)
        return found

    async def wake(self, partition: int, sleeper: threading.Event) -> None:
        """Set *sleeper* whenever the partition may have grown, and when this is ended."""
        rung = asyncio.Event()

        def ring(payload: str) -> None:
            if payload == str(partition):
                rung.set()

        if self._listening is None:
            self._listening = asyncio.create_task(self._bell.run(asyncio.Event()))
        channel = self.address.channel("events")
        self._bell.subscribe(channel, ring)
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await rung.wait()
                rung.clear()
                sleeper.set()
        finally:
            self._bell.unsubscribe(channel, ring)
            sleeper.set()


@asynccontextmanager
async def open_stored(address: Address) -> AsyncIterator[StoredEvents]:
    """The tables at an address."""
    async with open_pool(address, size=POOL) as pool:
        yield StoredEvents(address, pool)


async def _lock(connection: "AnyConnection", partitions: set[int]) -> dict[int, int]:
    """Keep everybody else from appending to the partitions; return their last sequences."""
    heads = await connection.fetch(SQL["heads"], sorted(partitions))
    for head in heads:
        if head["owned"]:
            raise PartitionOwned(
                f"partition {head['partition']} belongs to the engine {head['owner']}, "
                "its only writer: send it commands instead"
            )
    return {head["partition"]: head["sequence"] for head in heads}


async def _track(connection: "AnyConnection", tracking: Tracking) -> None:
    name, position = tracking.application_name, tracking.notification_id
    if await connection.fetchval(SQL["insert_tracking"], name, position) is None:
        raise AlreadyTracked(f"{name!r} was processed up to {position} before, or further")


def _row(event: StoredEvent) -> tuple[Any, ...]:
    """What is stored of the event: all of our record in columns, or its bytes as they are."""
    stream, version, topic = event.originator_id, event.originator_version, event.topic
    if not isinstance(stream, str):
        raise ProgrammingError(f"the ids of streams are text, {stream!r} is none")
    if len(event.state) > RECORD_LIMIT:
        raise DataError(
            f"{stream} version {version}: {len(event.state)} bytes are more than the "
            f"{RECORD_LIMIT} that one record may have"
        )
    try:
        envelope = cloudevents.parse(event.state)
    except CodecError:
        return (stream, version, topic, None, None, None, None, None, None, event.state)
    row = (
        stream,
        version,
        topic,
        envelope.schemaversion,
        envelope.id,
        envelope.causationid,
        envelope.time,
        envelope.actor,
        envelope.traceparent,
        cloudevents.data_of(envelope),
    )
    if _record(*row) != event.state:
        raise DataError(
            f"{stream} version {version}: it is a record of ours, but not as our Mapper writes it"
        )
    return row


def _state(row: asyncpg.Record) -> bytes:
    """The state of an event as it was, or would have been, given to `insert`."""
    return row["state"] if row["id"] is None else _record(*row[1:])


def _record(
    stream: str,
    version: int,
    topic: str,
    form: int,
    id_: UUID,
    cause: UUID,
    time: datetime,
    actor: str,
    trace: str | None,
    data: bytes,
) -> bytes:
    """The record of what is in the columns, whose data is not decoded."""
    envelope = CloudEvent(
        specversion="1.0",
        id=id_,
        source=SOURCE,
        type=topic,
        subject=stream,
        time=time,
        version=version,
        causationid=cause,
        actor=actor,
        schemaversion=form,
        traceparent=trace,
    )
    return cloudevents.compose(envelope, data, plain=_is_json(data))


def _is_json(data: bytes) -> bool:
    """Whether it can stand in a record as it is: what was compressed or encrypted cannot."""
    try:
        _json(data)
    except msgspec.DecodeError:
        return False
    return True
