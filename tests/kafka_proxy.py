"""A proxy before a real Kafka, to do to real traffic what networks and schedulers do.

    async with proxied(servers) as proxy, AIOKafkaProducer(bootstrap_servers=proxy.servers, ...):
        with proxy.holding(Api.END_TXN) as held:
            ...
            await held.arrived()

aiokafka and librdkafka stay behind it for all of their traffic: where brokers tell addresses, they
tell the proxy's. They are offered the versions only in which it can be made so, and a request that
takes another anyway fails the test. TLS and SASL are not understood.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from io import BytesIO
from struct import pack, pack_into, unpack_from
from typing import Any

from aiokafka.protocol import coordination, metadata
from aiokafka.protocol.types import UnsignedVarInt32


class Api(IntEnum):
    """The kinds of request."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_CLUSTER = 60


LATEST: dict[int, int] = {
    # From the next ones on, an error tells where the leader is.
    Api.PRODUCE: 9,
    Api.FETCH: 15,
    # The next ones are not among the types below.
    Api.METADATA: 5,
    Api.FIND_COORDINATOR: 1,
    # Tells addresses, and neither client asks for it.
    Api.DESCRIBE_CLUSTER: -1,
}
TELLING = {
    (response.API_KEY, response.API_VERSION): response
    for response in (
        *(getattr(metadata, f"MetadataResponse_v{n}") for n in range(6)),
        *(getattr(coordination, f"FindCoordinatorResponse_v{n}") for n in range(2)),
    )
}
"""The responses that tell addresses, by kind and version."""

PATIENCE = 30.0
BUFFER = 1 << 20

Address = tuple[str, int]


class NotUnderstood(Exception):
    """A client has sent what would lead it past the proxy."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `api` need not be a member of Api, `body` is what follows the client's id."""

    api: int
    version: int
    correlation: int
    client_id: str | None
    body: bytes = field(repr=False)


When = Callable[[Request], bool]


def _any(request: Request) -> bool:
    return True


def commits(request: Request) -> bool:
    """Whether it ends a transaction by its commit, in the version that aiokafka speaks."""
    return request.api == Api.END_TXN and request.body[-1] == 1


def commits_by(api: Api) -> When:
    """Whether it is of a kind, and part of a transaction behind one that was aborted.

    An owner's first transaction is such a one.
    """
    aborted: list[Request] = []

    def when(request: Request) -> bool:
        if request.api == Api.END_TXN and not commits(request):
            aborted.append(request)
        return bool(aborted) and request.api == api and (api != Api.END_TXN or commits(request))

    return when


class Caught:
    """The requests that something was done to.

    Attributes:
        count: how many until now.
    """

    def __init__(self, apis: tuple[Api, ...], when: When) -> None:
        self.count = 0
        self.over = asyncio.Event()
        self._apis = apis
        self._when = when
        self._one_more = asyncio.Event()

    async def arrived(self, n: int = 1) -> None:
        """Wait until there are so many. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while self.count < n:
                self._one_more.clear()
                await self._one_more.wait()

    def takes(self, request: Request) -> bool:
        return (not self._apis or request.api in self._apis) and self._when(request)

    def add(self) -> None:
        self.count += 1
        self._one_more.set()


Expected = dict[int, tuple[Request, list[Caught]]]
"""By correlation: the requests whose responses matter, and who wants a response lost."""


class Proxy:
    """Where the clients connect, and what is done to their requests.

    A request is chosen by its kind (no kinds: all of them) and by *when*.

    Attributes:
        servers: `host:port` for the clients to start from, comma separated.
    """

    def __init__(self) -> None:
        self.servers = ""
        self._holding: list[Caught] = []
        self._losing: list[Caught] = []
        self._losing_responses: list[Caught] = []
        self._behind: dict[Address, Address] = {}
        self._listening: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._failures: list[Exception] = []
        self._closed = False

    def holding(self, *requests: Api, when: When = _any) -> AbstractContextManager[Caught]:
        """Requests wait until the context ends, then go on, even if their client is gone by then.

        What follows on the same connection waits behind; other connections go on.
        """
        return _catching(self._holding, requests, when)

    def losing(self, *requests: Api, when: When = _any) -> AbstractContextManager[Caught]:
        """The client's connection is cut before the request reaches the broker."""
        return _catching(self._losing, requests, when)

    def losing_responses(self, *requests: Api, when: When = _any) -> AbstractContextManager[Caught]:
        """The client's connection is cut, and the request counts, once the broker has answered."""
        return _catching(self._losing_responses, requests, when)

    def cut(self) -> None:
        """Cut all connections there are; what is on its way is lost."""
        for writer in self._writers:
            writer.transport.abort()

    async def before(self, broker: Address) -> Address:
        """Where this broker is behind the proxy."""
        if broker not in self._behind:
            listener = socket.create_server(("127.0.0.1", 0))
            self._behind[broker] = listener.getsockname()
            server = await asyncio.start_server(
                lambda reader, writer: self._connected(broker, reader, writer),
                sock=listener,
                limit=BUFFER,
                start_serving=False,
            )
            self._listening.append(server)
            await server.start_serving()
        return self._behind[broker]

    async def close(self) -> None:
        """Close all there is. Raises what has failed meanwhile."""
        self._closed = True
        for server in self._listening:
            server.close()
        self.cut()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for server in self._listening:
            await server.wait_closed()
        for failure in self._failures:
            raise failure

    def _connected(
        self, broker: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._closed:
            writer.transport.abort()
            return
        connection = asyncio.create_task(self._serve(broker, reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(
        self, broker: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One client's connection to one broker, until either ends it."""
        expected: Expected = {}
        try:
            async with self._open(writer):
                answers, asking = await asyncio.open_connection(*broker, limit=BUFFER)
                async with self._open(asking), asyncio.TaskGroup() as both:
                    both.create_task(self._pass_requests(reader, asking, expected))
                    both.create_task(self._pass_responses(answers, writer, expected))
        except* (OSError, EOFError):
            pass
        except* Exception as failed:
            self._failures.extend(failed.exceptions)

    @asynccontextmanager
    async def _open(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._writers.discard(writer)

    async def _pass_requests(
        self, client: asyncio.StreamReader, broker: asyncio.StreamWriter, expected: Expected
    ) -> None:
        while True:
            frame = await _frame(client)
            request = _request(frame)
            if request.version > LATEST.get(request.api, request.version):
                raise NotUnderstood(request)
            for held in _takers(self._holding, request):
                held.add()
                await held.over.wait()
            _lose(_takers(self._losing, request))
            lost = _takers(self._losing_responses, request)
            if lost or request.api in (Api.METADATA, Api.FIND_COORDINATOR, Api.API_VERSIONS):
                expected[request.correlation] = request, lost
            broker.write(pack(">i", len(frame)) + frame)
            await broker.drain()

    async def _pass_responses(
        self, broker: asyncio.StreamReader, client: asyncio.StreamWriter, expected: Expected
    ) -> None:
        while True:
            frame = await _frame(broker)
            (correlation,) = unpack_from(">i", frame)
            if found := expected.pop(correlation, None):
                request, lost = found
                _lose(lost)
                frame = await self._rewritten(request, frame)
            client.write(pack(">i", len(frame)) + frame)
            await client.drain()

    async def _rewritten(self, request: Request, frame: bytes) -> bytes:
        """The same response with the proxy's addresses, or with the versions that can have them."""
        if request.api == Api.API_VERSIONS:
            return _clamped(frame, request.version)
        response: Any = TELLING[request.api, request.version].decode(frame[4:])
        if request.api == Api.METADATA:
            response.brokers = [
                (node, *await self.before((host, port)), *more)
                for node, host, port, *more in response.brokers
            ]
        elif not response.error_code:
            response.host, response.port = await self.before((response.host, response.port))
        encoded: bytes = response.encode()
        return frame[:4] + encoded


@asynccontextmanager
async def proxied(servers: str) -> AsyncIterator[Proxy]:
    """A proxy before the Kafka at *servers* (`host:port`, comma separated), one port a broker.

    Raises NotUnderstood, or whatever a `when` has raised.
    """
    proxy = Proxy()
    try:
        places = [server.rpartition(":") for server in servers.split(",")]
        before = [await proxy.before((host, int(port))) for host, _, port in places]
        proxy.servers = ",".join(f"{host}:{port}" for host, port in before)
        yield proxy
    finally:
        await proxy.close()


@contextmanager
def _catching(among: list[Caught], apis: tuple[Api, ...], when: When) -> Iterator[Caught]:
    caught = Caught(apis, when)
    among.append(caught)
    try:
        yield caught
    finally:
        among.remove(caught)
        caught.over.set()


def _takers(among: list[Caught], request: Request) -> list[Caught]:
    return [one for one in among if one.takes(request)]


def _lose(takers: list[Caught]) -> None:
    """End the connection for those who want it lost, if there are any."""
    for taker in takers:
        taker.add()
    if takers:
        raise ConnectionAbortedError


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = unpack_from(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def _request(frame: bytes) -> Request:
    api, version, correlation, length = unpack_from(">hhih", frame)
    end = 10 + max(length, 0)
    client_id = frame[10:end].decode() if length >= 0 else None
    return Request(api, version, correlation, client_id, frame[end:])


def _clamped(frame: bytes, version: int) -> bytes:
    """A broker's list of (kind, earliest, latest version), with none later than LATEST."""
    error, count = unpack_from(">hi", frame, 4)
    if error:
        return frame
    start, size = 10, 6
    if version >= 3:  # a compact array, and behind each element an empty list of tagged fields
        rest = BytesIO(frame[6:])
        count, size = UnsignedVarInt32.decode(rest) - 1, 7
        start = 6 + rest.tell()
    clamped = bytearray(frame)
    for at in range(start, start + count * size, size):
        api, earliest, latest = unpack_from(">hhh", frame, at)
        pack_into(">h", clamped, at + 4, max(earliest, min(latest, LATEST.get(api, latest))))
    return bytes(clamped)
