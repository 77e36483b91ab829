"""Where engines run: the servers of a log, and what can go wrong with them."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from adapters.codec import Codec
from adapters.kafka import log as kafka
from adapters.kafka.connection import Address as KafkaAddress
from adapters.log import Log
from adapters.postgres import log as postgres
from adapters.postgres.connection import Address as PostgresAddress
from adapters.postgres.server import Server, bundled
from docker.kafka.broker import Cluster, Node, cluster
from domain.kinds import DECIDERS

PARTITIONS = 8
STOPPED = 12.0
"""Seconds for which a broker is stopped, at most."""


class Site(Protocol):
    """The servers of a log. `faults` are the names of what `strike` can do to them."""

    environment: Mapping[str, str]
    faults: tuple[str, ...]
    has_archive: bool
    """Whether the archive is a view, and not the log."""
    database: PostgresAddress
    """Where the views are."""

    def open(self) -> AbstractAsyncContextManager[Log]:
        """A view of the log that nothing is done to."""
        ...

    async def strike(self, fault: str, chance: random.Random) -> None:
        """Do it, and mend it."""
        ...

    def away(self) -> Mapping[str, AbstractAsyncContextManager[None]]:
        """For each of the servers, by name, a time without it."""
        ...


class OnPostgres:
    """The bundled server."""

    faults: tuple[str, ...] = ("restart postgres", "kill postgres")
    has_archive = False

    def __init__(self, server: Server) -> None:
        self.environment: Mapping[str, str] = {"DATABASE_URL": server.dsn}
        self.database = PostgresAddress(server.dsn)
        self._server = server

    def open(self) -> AbstractAsyncContextManager[Log]:
        return postgres.open_log(self.database, Codec(DECIDERS), partitions=PARTITIONS)

    async def strike(self, fault: str, chance: random.Random) -> None:
        await _strike(self._server, fault)

    def away(self) -> Mapping[str, AbstractAsyncContextManager[None]]:
        return {"postgres": _without(self._server)}


class OnKafka:
    """A broker, or three of which one is struck after the other, and the database of the views."""

    faults: tuple[str, ...] = ("kill broker", "stop broker", "kill postgres", "restart postgres")
    has_archive = True

    def __init__(self, brokers: Cluster, views: Server) -> None:
        self.environment: Mapping[str, str] = {
            "TURNSTILE_KAFKA": brokers.bootstrap,
            "DATABASE_URL": views.dsn,
        }
        self.database = PostgresAddress(views.dsn)
        self._brokers = brokers
        self._views = views
        self._turn = 0

    def open(self) -> AbstractAsyncContextManager[Log]:
        address = KafkaAddress(self._brokers.bootstrap)
        return kafka.open_log(address, Codec(DECIDERS), partitions=PARTITIONS)

    async def strike(self, fault: str, chance: random.Random) -> None:
        if "broker" in fault:
            await self._strike_broker(fault, chance)
        else:
            await _strike(self._views, fault)

    def away(self) -> Mapping[str, AbstractAsyncContextManager[None]]:
        [node] = self._brokers.nodes
        return {"broker": _without(node), "postgres": _without(self._views)}

    async def _strike_broker(self, fault: str, chance: random.Random) -> None:
        # Each of three leads a third of the partitions and coordinates a third of the rest.
        node = self._brokers.nodes[self._turn % len(self._brokers.nodes)]
        self._turn += 1
        if fault == "kill broker":
            await node.kill()
            await node.start()
        else:
            node.send(signal.SIGSTOP)
            await asyncio.sleep(chance.uniform(1, STOPPED))
            node.send(signal.SIGCONT)


async def _strike(server: Server, fault: str) -> None:
    if fault == "kill postgres":
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        await server.start()
    else:
        await server.restart()


@asynccontextmanager
async def _without(server: Server | Node) -> AsyncIterator[None]:
    await server.stop()
    try:
        yield
    finally:
        await server.start()


@asynccontextmanager
async def site(log: str, folder: Path, brokers: int) -> AsyncIterator[Site]:
    """The servers of a kind of log, durable ones."""
    if log == "postgres":
        async with bundled(folder / "postgres") as server:
            yield OnPostgres(server)
    else:
        async with (
            cluster(folder / "kafka", brokers) as started,
            bundled(folder / "postgres") as views,
        ):
            yield OnKafka(started, views)
