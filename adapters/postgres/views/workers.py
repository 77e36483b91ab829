"""The view of workers in PostgreSQL, and what can be asked of it."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec
import structlog

from adapters.log import Genesis
from adapters.postgres.connection import Address, translated
from adapters.postgres.statements import load
from adapters.postgres.views import rows
from adapters.postgres.views.view import Place, PlacedFold, PostgresView, prepare
from domain.envelope import Recorded
from domain.stream import VersionGap
from domain.worker.automata import WorkerState
from projections import workers as folded
from projections.queries import Page, Word, cursor, place
from projections.rows import Attempt
from projections.workers import Worker, WorkerFilter, concerns

SQL: Final = load("workers")

log = structlog.get_logger()
_encode: Final = msgspec.json.Encoder().encode
_capabilities: Final = msgspec.json.Decoder(dict[str, tuple[str, ...]]).decode


async def open_workers(
    address: Address, genesis: Sequence[Genesis], *, lease: float = 6.0
) -> PostgresView:
    """The view of workers at an address, made if it is not there.

    Raises WrongLog if it is of another log than the one with this *genesis*, and Unavailable.
    """
    await prepare(address, "workers", genesis)
    return PostgresView("workers", address, WorkersFold, lease, is_durable=False)


class WorkersFold(PlacedFold):
    """One partition of the view of workers."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._workers = folded.Workers(place.partition)

    async def fold(self, events: Sequence[Recorded]) -> None:
        """Fold the next events; most pages tell of no worker, and only move the position."""
        own = [recorded for recorded in events if concerns(recorded)]
        if not own:
            await self._place.pass_over(events[-1])
            return
        with translated():
            await self._load(own)
            for recorded in own:
                try:
                    self._workers.fold(recorded)
                except Exception as error:
                    await self._place.check()  # else what was loaded is ahead of us
                    if isinstance(error, VersionGap):
                        raise
                    self._put_aside(recorded, error)
            async with self._place.advanced(events[-1]) as connection:
                if changed := self._workers.changes():
                    await connection.execute(SQL["write"], *_columns(changed))

    async def _load(self, events: Sequence[Recorded]) -> None:
        if unknown := self._workers.unknown(events):
            found = await self._place.connection.fetch(SQL["known"], list(unknown))
            self._workers.load(map(_read, found))

    def _put_aside(self, recorded: Recorded, error: Exception) -> None:
        """As in the engine: one worker that cannot be folded must not stop the others."""
        log.critical(
            "view_quarantined",
            stream=recorded.originator_id,
            version=recorded.originator_version,
            sequence=recorded.sequence,
            exc_info=error,
        )
        problem = f"version {recorded.originator_version}: {error!r}"
        self._workers.quarantine(folded.name_of(recorded), problem)


class Workers:
    """Asks through a pool whose path has the view. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def get(self, worker: str) -> Worker | None:
        """The worker of this name, be it gone."""
        with translated():
            found = await self._pool.fetch(SQL["known"], [worker])
        return _read(found[0]) if found else None

    async def online(self) -> Sequence[Worker]:
        """Those that may claim, by their names."""
        with translated():
            return [_read(row) for row in await self._pool.fetch(SQL["online"])]

    async def page(self, asked: WorkerFilter) -> Page[Worker]:
        """Workers, by their names."""
        after = "" if asked.cursor is None else place(asked.cursor, tuple[Word])[0]
        with translated():
            found = await self._pool.fetch(
                SQL["page"], after, list(dict.fromkeys(asked.state)), asked.limit + 1
            )
        page = [_read(row) for row in found[: asked.limit]]
        return Page(page, cursor((page[-1].worker,)) if len(found) > asked.limit else None)


class AtWork:
    """Asks the views of tickets what workers are at, through a pool. Raises Unavailable."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def attempts(self, worker: str, limit: int) -> Sequence[Attempt]:
        """The attempts of a worker that are under way, those claimed first before others."""
        with translated():
            found = await self._pool.fetch(SQL["at_work"], worker, limit)
        return [rows.read(Attempt, record) for record in found]


def _columns(changed: Sequence[Worker]) -> list[Sequence[object]]:
    return list(zip(*map(_written, changed), strict=True))


def _written(row: Worker) -> tuple[object, ...]:
    values = msgspec.structs.asdict(row)
    values["capabilities"] = _encode(row.capabilities).decode()
    return tuple(values.values())


def _read(record: asyncpg.Record) -> Worker:
    values = dict(record)
    values["state"] = WorkerState(values["state"])
    values["capabilities"] = _capabilities(values["capabilities"])
    return Worker(**values)
