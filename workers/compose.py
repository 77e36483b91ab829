"""The composition root: everything the processes share, opened in order and closed in reverse."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from adapters.codec import Codec
from adapters.config import Config
from adapters.dead import DeadLetters
from adapters.kafka import log as kafka
from adapters.kafka.connection import Address as KafkaAddress
from adapters.kafka.dead import open_dead as kafka_dead
from adapters.kafka.requests import open_requests
from adapters.log import Genesis, Log, Unavailable
from adapters.postgres import log as postgres
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address as PostgresAddress
from adapters.postgres.connection import open_pool
from adapters.postgres.dead import open_dead as postgres_dead
from adapters.postgres.lease_rounds import open_lease_rounds
from adapters.postgres.leases import Gap, Look, leasing
from adapters.postgres.looking import Machine, Tickets, look
from adapters.postgres.preparing import prepare
from adapters.postgres.server import ServerError, shared
from adapters.postgres.snapshots import open_snapshots
from adapters.postgres.tokens import Tokens
from adapters.postgres.views.due import open_due
from adapters.postgres.views.history import open_history
from adapters.postgres.views.leases import open_leases
from adapters.postgres.views.reactor import open_reactor
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from adapters.postgres.views.workers import Workers, open_workers
from adapters.requests import Desk
from adapters.views import View
from domain.decider import Deciders
from domain.kinds import DECIDERS
from projections.workers import Worker
from workers.api import Api
from workers.engine import Engine, Pace
from workers.intake import Intake
from workers.memory import Memory
from workers.progress import Progress
from workers.projector import Projector
from workers.reactor import Reactor
from workers.reaper import Reaper
from workers.rebuild import Progress as Folded
from workers.rebuild import Rebuild
from workers.watchdog import Watchdog
from workers.web import Places, Web, open_web

POOL: Final = 4
"""Connections with which an engine asks the archive."""

REACTOR: Final = "reactor"
"""The name of what reactors know."""

REAPED: Final = ("tickets", "leases")
"""The names of the views in which reapers look."""


class Service(Struct, frozen=True):
    """What a process of any role works with. Not every role needs the views.

    Where PostgreSQL keeps the log its events are their own archive, and need no view of history.
    """

    config: Config
    deciders: Deciders
    codec: Codec
    log: Log
    database: PostgresAddress | None = None
    views: Mapping[str, View] = {}
    web: Web | None = None
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
        folded = [self.views[name] for name in views_of(self.config)]
        return Projector(self.config.name, self.log, folded, watchdog=watchdog)

    def reactor(self, watchdog: Watchdog | None = None) -> Reactor:
        """A reactor of this service, which was assembled with what reactors know."""
        return Reactor(self.config.name, self.log, self.views[REACTOR], watchdog=watchdog)

    def reaper(self, watchdog: Watchdog | None = None) -> Reaper:
        """A reaper of this service, which was assembled with the views in which it looks."""
        assert self.database is not None
        openings = partial(open_due, self.database), partial(open_lease_rounds, self.database)
        return Reaper(self.log, *openings, watchdog=watchdog)

    def api(
        self,
        watchdog: Watchdog | None = None,
        tell: Callable[[str], None] = lambda address: None,
    ) -> Api:
        """The API of this service, which was assembled with it; *tell* hears where it listens."""
        assert self.web is not None
        return Api(self.web, self.config.http, watchdog, tell=tell)

    def progress(self) -> Progress:
        """What looks at how far engines and the views are with which this was assembled."""
        return Progress(self.log, list(self.views.values()))

    def rebuild(self, name: str, progress: Folded) -> Rebuild:
        """What folds the view of this name again."""
        assert self.database is not None
        live, opening = address_of(self.database, name), _OPENING[name]
        return Rebuild(self.log, live, partial(opening, self), progress=progress)


@asynccontextmanager
async def assemble(
    config: Config,
    *,
    views: Sequence[str] | None = None,
    http: bool = False,
    memory: bool = False,
) -> AsyncIterator[Service]:
    """Open what the configuration names. Raises LogError.

    With *views*, be they none, there is a database for them, and those of these names are opened;
    with *http* so that they can be asked over it. With *memory* there is what engines keep beside
    the log: an archive for closed streams, and snapshots.
    """
    codec = Codec(DECIDERS)
    async with AsyncExitStack() as stack:
        opening = _in_kafka if config.kafka else _in_postgres
        log = await stack.enter_async_context(opening(config, codec))
        service = Service(config, DECIDERS, codec, log)
        if views is not None or memory:
            database = await stack.enter_async_context(_database(config))
            opened = {
                name: await _OPENING[name](service, address_of(database, name))
                for name in views or ()
            }
            service = msgspec.structs.replace(service, database=database, views=opened)
            if http:
                web = await stack.enter_async_context(_web(service, database))
                service = msgspec.structs.replace(service, web=web)
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


def _web(service: Service, database: PostgresAddress) -> AbstractAsyncContextManager[Web]:
    """What answers over HTTP."""
    places = Places(
        database=database,
        tickets=address_of(database, "tickets"),
        workers=address_of(database, "workers"),
        archive=_archive(service, database),
        access=address_of(database, "access"),
        logs=address_of(database, "logs"),
    )
    dead = _dead(service, database)
    return open_web(service.config, service.log, service.codec, dead, places, service.progress())


def _archive(service: Service, database: PostgresAddress) -> PostgresAddress:
    """Where every event is by its stream: in the log itself, or in the view of history."""
    return address_of(database, "history") if service.config.kafka else database


def _dead(service: Service, database: PostgresAddress) -> AbstractAsyncContextManager[DeadLetters]:
    """The dead letters of the log; those in Kafka are found through an index in the database."""
    log, codec = service.log, service.codec
    if service.config.kafka:
        index = address_of(database, "dead")
        return kafka_dead(KafkaAddress.of(service.config), index, log, codec)
    return postgres_dead(database, log, codec)


@asynccontextmanager
async def examining(
    service: Service,
) -> AsyncIterator[tuple[DeadLetters, Machine, Tickets, Sequence[Worker], Look, Sequence[Gap]]]:
    """What a doctor looks at beside the partitions of a service. Raises LogError."""
    assert service.database is not None
    async with (
        _dead(service, service.database) as dead,
        open_pool(address_of(service.database, "tickets"), 1) as pool,
        open_pool(address_of(service.database, "workers"), 1) as of_workers,
        leasing(service.database, 1) as leases,
    ):
        workers = await Workers(of_workers).online()
        yield dead, *await look(pool), workers, *await leases.look()


@asynccontextmanager
async def tokens_of(config: Config) -> AsyncIterator[Tokens]:
    """The tokens of a service, without the service. Raises LogError."""
    async with _database(config) as database:
        access = address_of(database, "access")
        await prepare(access, "access")
        async with open_pool(access, 1) as pool:
            yield Tokens(pool)


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


def views_of(config: Config) -> Sequence[str]:
    """The names of the views; where PostgreSQL keeps the log, that is its own archive."""
    return ("tickets", "leases", "workers", *(("history",) if config.kafka else ()))


async def _tickets(service: Service, at: PostgresAddress) -> View:
    return await open_tickets(at, await _genesis(service.log), lease=service.config.lease)


async def _workers(service: Service, at: PostgresAddress) -> View:
    return await open_workers(at, await _genesis(service.log), lease=service.config.lease)


async def _history(service: Service, at: PostgresAddress) -> View:
    genesis = await _genesis(service.log)
    return await open_history(at, genesis, service.codec, lease=service.config.lease)


async def _leases(service: Service, at: PostgresAddress) -> View:
    return await open_leases(at, await _genesis(service.log), lease=service.config.lease)


async def _reactor(service: Service, at: PostgresAddress) -> View:
    genesis = await _genesis(service.log)
    return await open_reactor(at, genesis, service.codec, lease=service.config.lease)


async def _genesis(log: Log) -> Sequence[Genesis]:
    return [await log.genesis(n) for n in range(log.partitions)]


_OPENING: Final = {
    "tickets": _tickets,
    "leases": _leases,
    "workers": _workers,
    "history": _history,
    REACTOR: _reactor,
}


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
