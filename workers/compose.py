"""The composition root: everything the processes share, opened in order and closed in reverse."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from adapters.codec import Codec
from adapters.config import Config
from adapters.http.app import application
from adapters.http.tickets import TicketReading
from adapters.kafka import log as kafka
from adapters.kafka.connection import Address as KafkaAddress
from adapters.kafka.requests import open_requests
from adapters.log import Genesis, Log, Unavailable
from adapters.postgres import log as postgres
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address as PostgresAddress
from adapters.postgres.connection import open_pool
from adapters.postgres.server import ServerError, shared
from adapters.postgres.snapshots import open_snapshots
from adapters.postgres.views.history import open_history
from adapters.postgres.views.queries import TicketQueries
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from adapters.requests import Desk
from adapters.views import View
from domain.decider import Deciders
from domain.kinds import DECIDERS
from workers.api import Api
from workers.engine import Engine, Pace
from workers.intake import Intake
from workers.memory import Memory
from workers.projector import Projector
from workers.rebuild import Progress, Rebuild
from workers.watchdog import Watchdog

POOL: Final = 8
"""Connections with which an API asks the views, and as many for the archive."""


class Service(Struct, frozen=True):
    """What a process of any role works with. Not every role needs the views.

    Where PostgreSQL keeps the log its events are their own archive, and need no view of history.
    """

    config: Config
    deciders: Deciders
    codec: Codec
    log: Log
    database: PostgresAddress | None = None
    views: Sequence[View] = ()
    reading: TicketReading | None = None
    memory: Memory | None = None

    def engine(self, watchdog: Watchdog | None = None) -> Engine:
        """An engine of this service; where it was assembled with memory, that stays small."""
        return Engine(
            self.config.name,
            self.log,
            self.deciders,
            self.codec,
            pace=Pace(batch=self.config.batch, linger=self.config.linger),
            watchdog=watchdog,
            memory=self.memory,
        )

    def intake(self, watchdog: Watchdog | None = None) -> Intake:
        """An intake of this service, whose log is in Kafka."""
        config, partitions = self.config, self.log.partitions
        opening = open_requests(
            KafkaAddress.of(config),
            Desk(config.intake, self.codec, self.deciders, partitions),
            name=config.name,
            partitions=partitions,
            replication=config.kafka_replication,
            lease=config.lease,
        )
        return Intake(self.log, opening, batch=config.batch, watchdog=watchdog)

    def projector(self, watchdog: Watchdog | None = None) -> Projector:
        """A projector of this service, which was assembled with its views."""
        return Projector(self.config.name, self.log, self.views, watchdog=watchdog)

    def api(self, watchdog: Watchdog | None = None) -> Api:
        """The API of this service, which was assembled with pools."""
        assert self.reading is not None
        return Api(application(self.reading.endpoints()), self.config.http, watchdog)

    def rebuild(self, name: str, progress: Progress) -> Rebuild:
        """What folds the view of this name again."""
        assert self.database is not None
        live, opening = address_of(self.database, name), _OPENING[name]
        return Rebuild(self.log, live, partial(opening, self), progress=progress)


@asynccontextmanager
async def assemble(
    config: Config,
    *,
    views: Sequence[str] | None = None,
    reading: bool = False,
    memory: bool = False,
) -> AsyncIterator[Service]:
    """Open what the configuration names. Raises LogError.

    With *views*, be they none, there is a database for them, and those of these names are opened;
    with *reading* so that they can be asked. With *memory* there is what engines keep beside the
    log: an archive for closed streams, and snapshots.
    """
    codec = Codec(DECIDERS)
    async with AsyncExitStack() as stack:
        opening = _in_kafka if config.kafka else _in_postgres
        log = await stack.enter_async_context(opening(config, codec))
        service = Service(config, DECIDERS, codec, log)
        if views is not None or memory:
            database = await stack.enter_async_context(_database(config))
            opened = [
                await _OPENING[name](service, address_of(database, name)) for name in views or ()
            ]
            service = msgspec.structs.replace(service, database=database, views=opened)
            if reading:
                asked = await stack.enter_async_context(_reading(service, database))
                service = msgspec.structs.replace(service, reading=asked)
            if memory:
                kept = await stack.enter_async_context(_memory(service, database))
                service = msgspec.structs.replace(service, memory=kept)
        yield service


@asynccontextmanager
async def _in_kafka(config: Config, codec: Codec) -> AsyncIterator[Log]:
    """The log in the cluster that the configuration names."""
    async with kafka.open_log(
        KafkaAddress.of(config),
        codec,
        partitions=config.partitions,
        replication=config.kafka_replication,
        lease=config.lease,
    ) as log:
        yield log


@asynccontextmanager
async def _in_postgres(config: Config, codec: Codec) -> AsyncIterator[Log]:
    """The log in the database that the configuration names, or in the bundled one."""
    async with (
        _database(config) as database,
        postgres.open_log(database, codec, partitions=config.partitions, lease=config.lease) as log,
    ):
        yield log


@asynccontextmanager
async def _reading(service: Service, database: PostgresAddress) -> AsyncIterator[TicketReading]:
    """What answers from the views, and from the archive wherever it is."""
    async with (
        open_pool(address_of(database, "tickets"), POOL) as views,
        open_pool(_archive(service, database), POOL) as events,
    ):
        yield TicketReading(TicketQueries(views), Archive(events, service.codec))


@asynccontextmanager
async def _memory(service: Service, database: PostgresAddress) -> AsyncIterator[Memory]:
    """What engines keep beside the log; an archive that nobody folds yet has nothing."""
    if service.config.kafka:
        await _history(service, address_of(database, "history"))
    async with (
        open_pool(_archive(service, database), POOL) as events,
        open_snapshots(address_of(database, "snapshots")) as snapshots,
    ):
        archive = Archive(events, service.codec)
        yield Memory(archive, snapshots, every=service.config.snapshot_every)


def _archive(service: Service, database: PostgresAddress) -> PostgresAddress:
    """Where every event is by its stream: in the log itself, or in the view of history."""
    return address_of(database, "history") if service.config.kafka else database


def views_of(config: Config) -> Sequence[str]:
    """The names of the views; where PostgreSQL keeps the log, that is its own archive."""
    return ("tickets", "history") if config.kafka else ("tickets",)


async def _tickets(service: Service, at: PostgresAddress) -> View:
    return await open_tickets(at, await _genesis(service.log), lease=service.config.lease)


async def _history(service: Service, at: PostgresAddress) -> View:
    genesis = await _genesis(service.log)
    return await open_history(at, genesis, service.codec, lease=service.config.lease)


async def _genesis(log: Log) -> Sequence[Genesis]:
    return [await log.genesis(n) for n in range(log.partitions)]


_OPENING: Final = {"tickets": _tickets, "history": _history}


@asynccontextmanager
async def _database(config: Config) -> AsyncIterator[PostgresAddress]:
    """The database that the configuration names, or the bundled one."""
    async with AsyncExitStack() as stack:
        dsn = config.database_url
        if dsn is None:
            try:
                dsn = await stack.enter_async_context(shared(Path(config.data) / "postgres"))
            except ServerError as error:
                raise Unavailable(str(error)) from error
        yield PostgresAddress(dsn, config.schema)
