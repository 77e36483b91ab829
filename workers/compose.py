"""The composition root: everything the processes share, opened in order and closed in reverse."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from adapters.codec import Codec
from adapters.config import Config
from adapters.kafka import log as kafka
from adapters.kafka.connection import Address as KafkaAddress
from adapters.kafka.requests import open_requests
from adapters.log import Log, Unavailable
from adapters.postgres import log as postgres
from adapters.postgres.connection import Address as PostgresAddress
from adapters.postgres.server import ServerError, shared
from adapters.postgres.views.history import open_history
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from adapters.requests import Desk
from adapters.views import View
from domain.decider import Deciders
from domain.kinds import DECIDERS
from workers.engine import Engine, Pace
from workers.intake import Intake
from workers.projector import Projector
from workers.watchdog import Watchdog


class Service(Struct, frozen=True):
    """What a process of any role works with. Not every role needs the views.

    Where PostgreSQL keeps the log its events are their own archive, and need no view of history.
    """

    config: Config
    deciders: Deciders
    codec: Codec
    log: Log
    views: Sequence[View] = ()

    def engine(self, watchdog: Watchdog | None = None) -> Engine:
        """An engine of this service."""
        pace = Pace(batch=self.config.batch, linger=self.config.linger)
        return Engine(
            self.config.name, self.log, self.deciders, self.codec, pace=pace, watchdog=watchdog
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


@asynccontextmanager
async def assemble(config: Config, *, views: bool = False) -> AsyncIterator[Service]:
    """Open what the configuration names, with the *views* if they are wanted. Raises LogError."""
    codec = Codec(DECIDERS)
    async with AsyncExitStack() as stack:
        opening = _in_kafka if config.kafka else _in_postgres
        log = await stack.enter_async_context(opening(config, codec))
        opened: Sequence[View] = ()
        if views:
            database = await stack.enter_async_context(_database(config))
            opened = await _views(config, database, log, codec)
        yield Service(config, DECIDERS, codec, log, opened)


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


async def _views(
    config: Config, database: PostgresAddress, log: Log, codec: Codec
) -> Sequence[View]:
    genesis = [await log.genesis(n) for n in range(log.partitions)]
    tickets = address_of(database, "tickets")
    opened: list[View] = [await open_tickets(tickets, genesis, lease=config.lease)]
    if config.kafka:
        history = address_of(database, "history")
        opened.append(await open_history(history, genesis, codec, lease=config.lease))
    return opened


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
