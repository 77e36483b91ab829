"""The log in PostgreSQL's tables, through asyncpg."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import msgspec

from adapters.codec import DATA_LIMIT, Codec
from adapters.log import Genesis, Standing, WrongLog
from adapters.postgres.connection import Address, Bell, close, connect, open_pool, translated
from adapters.postgres.membership import PostgresMembership, joined
from adapters.postgres.owner import POLL
from adapters.postgres.read import PAGE, read, recorded, with_data
from adapters.postgres.statements import load, schema
from domain.envelope import Answer, Recorded, Submitted, check, partition_of
from domain.errors import TooLarge

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("log")
FORMAT = 1
"""The form of the tables; another one is refused."""

_answers = msgspec.json.Decoder(list[Answer]).decode


async def migrate(
    address: Address, partitions: int | None, *, create: bool = True
) -> Sequence[Genesis]:
    """Make the tables where they are missing, and return what each partition says of itself.

    Raises WrongLog if the log has another format, or not the number of *partitions*; without
    *create* also if there is none.
    """
    connection = await connect(address)
    try:
        with translated():
            async with connection.transaction():
                if create:
                    await _create(connection, address.schema, partitions or 8)
                rows = await connection.fetch(SQL["partitions"])
    finally:
        await close(connection)
    genesis = [Genesis(format=row["format"], partitions=row["of"], id=row["id"]) for row in rows]
    if not genesis:
        raise WrongLog(f"schema {address.schema!r} has no log")
    for one in genesis:
        if one.format != FORMAT:
            raise WrongLog(f"the log has format {one.format}, and this version knows {FORMAT}")
        if one.partitions != (partitions or one.partitions) or one.partitions != len(genesis):
            raise WrongLog(
                f"the log has {one.partitions} partitions, for ever; {partitions} are configured"
            )
    return genesis


async def _create(connection: "Connection", name: str, partitions: int) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", name)
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
    await connection.execute(schema("log"))
    await connection.execute(SQL["create_partitions"], partitions, FORMAT)


@asynccontextmanager
async def open_log(
    address: Address,
    codec: Codec,
    *,
    partitions: int | None = None,
    lease: float = 5.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator["PostgresLog"]:
    """The log at an address, made if it is not there.

    An owner that renews nothing for *lease* seconds loses its partitions. Without a number of
    *partitions* the log keeps the one it has, a new one gets 8.
    """
    genesis = await migrate(address, partitions)
    async with AsyncExitStack() as stack:
        bell = Bell(address)
        started = asyncio.Event()
        listening = asyncio.create_task(bell.run(started))
        stack.push_async_callback(_cancelled, listening)
        pool = await stack.enter_async_context(open_pool(address, size=4))
        yield PostgresLog(address, codec, bell, pool, genesis, lease, clock)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class PostgresLog:
    """Partitions as tables; see `sql/log_tables.sql`."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        bell: Bell,
        pool: "asyncpg.Pool[asyncpg.Record]",
        genesis: Sequence[Genesis],
        lease: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.partitions = len(genesis)
        self._address = address
        self._codec = codec
        self._bell = bell
        self._pool = pool
        self._genesis = genesis
        self._lease = lease
        self._clock = clock

    async def send(self, commands: Sequence[Submitted]) -> None:
        """Put commands into the inbox of their streams' partitions, in order for each."""
        batches: dict[int, list[tuple[Submitted, bytes]]] = {}
        for command in commands:
            check(command)
            data = self._codec.encode_command(command.command)
            if len(data) > DATA_LIMIT:
                raise TooLarge(field="command", size=len(data), limit=DATA_LIMIT)
            partition = partition_of(command.stream, self.partitions)
            batches.setdefault(partition, []).append((command, data))
        for partition, batch in batches.items():
            await self._send(partition, batch)

    async def _send(self, partition: int, batch: Sequence[tuple[Submitted, bytes]]) -> None:
        commands = [command for command, _ in batch]
        with translated():
            await self._pool.execute(
                SQL["send"],
                partition,
                len(batch),
                [command.id for command in commands],
                [command.stream for command in commands],
                [command.command.topic for command in commands],
                [command.command.schema for command in commands],
                [command.actor for command in commands],
                [command.patience for command in commands],
                [command.reply_to for command in commands],
                [command.traceparent for command in commands],
                [data for _, data in batch],
                self._address.channel("commands"),
            )

    @asynccontextmanager
    async def replies(self) -> AsyncIterator["PostgresReplies"]:
        """An address for answers, as long as the context lasts."""
        replies = PostgresReplies()
        channel = self._address.channel(replies.address)
        self._bell.subscribe(channel, replies.arrived)
        try:
            yield replies
        finally:
            self._bell.unsubscribe(channel, replies.arrived)

    async def follow(
        self, partition: int, after: int = 0, *, stored: bool = False
    ) -> AsyncGenerator[Sequence[Recorded], None]:
        """The committed events behind sequence *after*, in order, for ever."""
        form = with_data if stored else recorded
        rung = asyncio.Event()

        def ring(payload: str) -> None:
            if payload == str(partition):
                rung.set()

        channel = self._address.channel("events")
        self._bell.subscribe(channel, ring)
        try:
            while True:
                rung.clear()
                with translated():
                    async with self._pool.acquire() as connection:
                        page = await read(connection, self._codec, partition, after, PAGE, form)
                if page:
                    after = page[-1].sequence
                    yield page
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL):
                            await rung.wait()
        finally:
            self._bell.unsubscribe(channel, ring)

    async def end(self, partition: int) -> int:
        """The sequence of the last committed event, 0 if there is none."""
        with translated():
            return int(await self._pool.fetchval(SQL["end"], partition))

    async def inbox_end(self, partition: int) -> int:
        """The position of the last command that came in, 0 if there is none."""
        with translated():
            return int(await self._pool.fetchval(SQL["inbox_end"], partition))

    async def standings(self) -> Sequence[Standing]:
        """How far every partition is, and who has it."""
        with translated():
            return [Standing(*row) for row in await self._pool.fetch(SQL["standings"])]

    async def genesis(self, partition: int) -> Genesis:
        """What the partition says of itself."""
        return self._genesis[partition]

    def join(self, name: str) -> AbstractAsyncContextManager[PostgresMembership]:
        """Be one of the engines of this log."""
        return joined(
            self._address,
            self._codec,
            self._bell,
            self._genesis,
            name,
            self._lease,
            self._clock,
        )


class PostgresReplies:
    """Answers that arrive as notifications."""

    def __init__(self) -> None:
        self.address = f"replies_{uuid4().hex}"
        self._answers: asyncio.Queue[str] = asyncio.Queue()

    def arrived(self, payload: str) -> None:
        """A notification has come."""
        self._answers.put_nowait(payload)

    async def receive(self) -> Sequence[Answer]:
        """Wait for the next answers."""
        return _answers(await self._answers.get())
