"""Connections: how they are made, what their errors mean, and the bell that wakes readers."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import asyncpg
from msgspec import Struct

from adapters.log import Unavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record]
    AnyConnection = Connection | PoolConnectionProxy[asyncpg.Record]


CHANNEL = 63
"""Bytes of a channel's name."""


class Address(Struct, frozen=True):
    """Where the tables are. A `schema` keeps several logs in one database apart."""

    dsn: str
    schema: str = "turnstile"

    def channel(self, name: str) -> str:
        """The name of a NOTIFY channel of this log, as short as PostgreSQL wants it."""
        channel = f"{self.schema}_{name}"
        if len(channel.encode()) <= CHANNEL:
            return channel
        return f"turnstile_{blake2b(channel.encode(), digest_size=24).hexdigest()}"


@contextmanager
def translated() -> Iterator[None]:
    """What means that the server is away becomes Unavailable."""
    try:
        yield
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.IdleInTransactionSessionTimeoutError,
        asyncpg.TransactionTimeoutError,
        asyncpg.LockNotAvailableError,
        asyncpg.TransactionRollbackError,  # a deadlock
        asyncpg.PostgresSystemError,
        asyncpg.InternalServerError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
    ) as error:
        raise Unavailable(f"PostgreSQL: {str(error) or type(error).__name__}") from error


async def connect(address: Address, **settings: str) -> "Connection":
    """A connection with the schema's tables in its path. Raises Unavailable."""
    settings = {
        "search_path": address.schema,
        "application_name": "turnstile",
        "idle_in_transaction_session_timeout": "10s",
        "transaction_timeout": "60s",
        "jit": "off",
        **settings,
    }
    try:
        with translated():
            return await asyncpg.connect(
                address.dsn, timeout=10, command_timeout=60, server_settings=settings
            )
    except (asyncpg.PostgresError, ValueError) as error:  # no such database, user, or setting
        raise Unavailable(f"PostgreSQL: {error}") from error


async def close(connection: "Connection") -> None:
    """Close, without a wait for a server that does not answer."""
    try:
        with translated():
            await connection.close(timeout=1)
    except Unavailable:
        connection.terminate()


IDLE: Final = 30.0
"""Seconds after which a connection of a pool that nobody needs is closed: a server has few."""


@asynccontextmanager
async def open_pool(
    address: Address, size: int, **settings: str
) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """At most so many connections, made when they are needed."""
    pool = await asyncpg.create_pool(
        address.dsn,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=IDLE,
        connect=lambda *_, **__: connect(address, **settings),
        reset=_keep,
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(2):
                await pool.close()
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pool.terminate()


async def _keep(connection: object) -> None:
    """Connections of the pool have nothing to be reset; a round trip less for each use."""


class Bell:
    """Wakes who waits for a channel. Advice only: whoever waits looks by himself now and then."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wanted: dict[str, list[Callable[[str], None]]] = defaultdict(list)
        self._changed = asyncio.Event()

    def subscribe(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call back with the payload of every notification."""
        self._wanted[channel].append(callback)
        self._changed.set()

    def unsubscribe(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call back no more."""
        self._wanted[channel].remove(callback)
        if not self._wanted[channel]:
            del self._wanted[channel]
        self._changed.set()

    async def run(self, started: asyncio.Event) -> None:
        """Listen for ever, connecting again whenever the server was away."""
        while True:
            with suppress(Unavailable):
                async with _open(self._address) as connection:
                    await self._listen(connection, started)
            await asyncio.sleep(0.2)

    async def _listen(self, connection: "Connection", started: asyncio.Event) -> None:
        listening: set[str] = set()
        lost = asyncio.Event()

        def end(_: object) -> None:
            lost.set()
            self._changed.set()

        connection.add_termination_listener(end)
        while not lost.is_set():
            self._changed.clear()
            wanted = set(self._wanted)
            with translated():
                for channel in wanted - listening:
                    await connection.add_listener(channel, self._ring)
                for channel in listening - wanted:
                    await connection.remove_listener(channel, self._ring)
            listening = wanted
            started.set()
            await self._changed.wait()

    def _ring(self, connection: object, pid: int, channel: str, payload: object) -> None:
        for callback in tuple(self._wanted.get(channel, ())):
            callback(str(payload))


@asynccontextmanager
async def _open(address: Address) -> AsyncIterator["Connection"]:
    connection = await connect(address)
    try:
        yield connection
    finally:
        await close(connection)
