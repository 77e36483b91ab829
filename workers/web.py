"""What answers over HTTP, put together: views, archive, logs, engines, dead letters and tokens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from msgspec import Struct
from starlette.applications import Starlette

from adapters.asking import asking
from adapters.codec import Codec
from adapters.config import Config
from adapters.credentials import Credentials
from adapters.dead import DeadLetters
from adapters.http import automaton, docs
from adapters.http.after import awaiting
from adapters.http.app import application
from adapters.http.artifacts import ArtifactDesk
from adapters.http.commands import TicketCommands
from adapters.http.dead import DeadLetterDesk
from adapters.http.gate import Gate
from adapters.http.live.hub import BOUND
from adapters.http.live.opening import Live, open_live
from adapters.http.live.stream import Streaming
from adapters.http.log_stream import LogsMoved
from adapters.http.logs import LogDesk, LogLimits
from adapters.http.metrics import Metrics
from adapters.http.progress import Looking
from adapters.http.ranges import Downloads
from adapters.http.tickets import TicketReading
from adapters.http.tokens import TokenDesk
from adapters.http.work import WorkDesk, take_over
from adapters.http.workers import WorkerCommands, WorkerReading
from adapters.log import Log
from adapters.objects import open_objects
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.leases import leasing
from adapters.postgres.logs import Logs
from adapters.postgres.preparing import prepare
from adapters.postgres.tokens import Tokens, signing_key
from adapters.postgres.views.attempts import AttemptQueries
from adapters.postgres.views.positions import following
from adapters.postgres.views.queries import TicketQueries
from adapters.postgres.views.workers import AtWork, Workers
from adapters.secrets import Secrets
from adapters.work.claiming import ClaimDesk
from adapters.work.opening import open_work
from workers.first_token import first_token
from workers.progress import Progress
from workers.settling import Settling

POOL: Final = 8
"""Connections with which an API asks the views, and as many for the archive."""

LEASING: Final = 4
"""Connections with which an API keeps leases alive."""

EACH_ITS_PLAN: Final = {"plan_cache_mode": "force_custom_plan"}
"""A plan for any value would walk all tickets for a rare one."""


class Places(Struct, frozen=True):
    """Where the views of tickets and workers, the events and the tokens are.

    Leases and claims are beside the log's `database`.
    """

    database: Address
    tickets: Address
    workers: Address
    archive: Address
    access: Address
    logs: Address


class Web(Struct, frozen=True):
    """The application that a server serves, who keeps answers open, and what it notes meanwhile.

    `hearing` says that heartbeats can come in. Raises Unavailable.
    """

    application: Starlette
    live: Live | None = None
    desk: ClaimDesk | None = None
    hearing: Callable[[], Awaitable[None]] | None = None

    def close(self) -> None:
        """End the answers that have no end of their own."""
        if self.live is not None:
            self.live.hub.close()
        if self.desk is not None:
            self.desk.close()


@asynccontextmanager
async def open_web(
    config: Config,
    log: Log,
    codec: Codec,
    dead: AbstractAsyncContextManager[DeadLetters],
    places: Places,
    progress: Progress,
    *,
    bound: int = BOUND,
) -> AsyncIterator[Web]:
    """Open what the application asks; *bound* bytes wait for each stream. Raises LogError."""
    await prepare(places.access, "access")
    await prepare(places.logs, "logs")
    objects = open_objects(config.store, config.data)
    genesis = [await log.genesis(n) for n in range(log.partitions)]
    async with (
        open_pool(places.tickets, POOL, **EACH_ITS_PLAN) as views,
        open_pool(places.archive, POOL) as events,
        open_pool(places.access, 2) as secrets,
        leasing(places.database, LEASING) as leases,
        open_pool(places.logs, POOL) as said,
        open_live(
            *(places.tickets, places.archive, codec, genesis), streams=config.streams, bound=bound
        ) as live,
        open_pool(places.workers, 2) as of_workers,
        following(places.workers, live.bell) as workers_seen,
        asking(log) as asker,
        dead as letters,
        AsyncExitStack() as stack,
    ):
        tokens = Tokens(secrets)
        await first_token(tokens, config.data)
        archive = Archive(events, codec)
        reading = TicketReading(TicketQueries(views), archive)
        rows = Workers(of_workers)
        at_work = WorkerReading(rows, AtWork(views), archive)
        credentials = Credentials(await signing_key(secrets, "attempts"))
        work = await stack.enter_async_context(
            open_work(
                places.database,
                live.bell,
                asker=asker,
                workers=rows,
                leases=leases,
                credentials=credentials,
                secrets=Secrets(config.secrets),
            )
        )
        metrics = Metrics(progress.glance, live.hub)
        attempts = AttemptQueries(views)
        logs = Logs(said, objects, places.logs.channel("logs"))
        moved = LogsMoved(live.bell, logs.channel)
        limits = LogLimits(usual=config.log_limit, most=config.log_most)
        present, downloads = leases.present, Downloads()
        endpoints = (
            *awaiting(reading.endpoints(), live.positions),
            *TicketCommands(asker).endpoints(),
            *awaiting(at_work.endpoints(), workers_seen),
            *WorkerCommands(
                asker, rows, workers_seen, partial(take_over, asker, leases)
            ).endpoints(),
            *WorkDesk(asker, work.desk, work.claims, leases).endpoints(),
            *Streaming(live.hub, live.positions, log).endpoints(),
            *LogDesk(logs, attempts, present, live.hub, moved, downloads, limits).endpoints(),
            *ArtifactDesk(objects, attempts, present, downloads, config.artifact_limit).endpoints(),
            *DeadLetterDesk(letters).endpoints(),
            *TokenDesk(tokens).endpoints(),
            *automaton.endpoints(),
            *Looking(progress.judge).endpoints(),
            *metrics.endpoints(),
            *docs.endpoints(),
        )
        gate = Gate(tokens, credentials, reading_is_public=config.reading == "public")
        served = application(endpoints, gate, metrics.observing)
        settling = asyncio.create_task(Settling(logs, attempts.over).run())
        try:
            yield Web(served, live, work.desk, leases.hearing)
        finally:
            settling.cancel()
            await asyncio.wait({settling})
