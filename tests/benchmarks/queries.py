"""What is asked of the views when they have many tickets, through the HTTP API."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from random import Random
from statistics import median
from time import perf_counter
from typing import Any, Final

import asyncpg
import httpx

from adapters.postgres.connection import open_pool
from adapters.postgres.views.view import address_of
from projections.queue import class_of
from tests.benchmarks.api import client, get, reading, seconds
from tests.benchmarks.many import ARCHIVED, ARM, fill
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.unit.given import NOON

ROUNDS: Final = 100
"""Requests of each sort."""

MOST: Final = 5.0
"""Seconds after which one is asked for no more."""

DEEP: Final = 40
"""Pages that are turned before a page that is deep."""

ROWS: Final = """
    SELECT sum(c.reltuples)::bigint FROM pg_class AS c JOIN pg_namespace AS n
    ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname LIKE $1 || '%'
"""
BYTES: Final = "SELECT pg_database_size(current_database())"

Asking = Callable[[], Awaitable[Any]]


class Asked:
    """The questions, each with chosen words; `chance` chooses the same ones every time."""

    def __init__(self, client: httpx.AsyncClient, tickets: int) -> None:
        self._client = client
        self._tickets = tickets
        self._chance = Random(1)
        self._deep: dict[str, Any] = {}

    def questions(self) -> Mapping[str, Asking]:
        """All that is measured, by name."""
        some, project = self._some, self._project
        listed: Mapping[str, Callable[[], dict[str, Any]]] = {
            "first page": dict,
            "deep page": lambda: self._deep,
            **{
                f"state {state}": lambda state=state: {"state": state}  # type: ignore[misc]
                for state in ("queued", "running", "passed", "failed", "errored", "expired")
            },
            "failed or errored": lambda: {"state": ["failed", "errored"]},
            "project": lambda: {"project": project()},
            "large project": lambda: {"project": "project-0"},
            "project, failed": lambda: {"project": project(), "state": "failed"},
            "project, expired": lambda: {"project": project(), "state": "expired"},
            "large project, queued": lambda: {"project": "project-0", "state": "queued"},
            "unknown project": lambda: {"project": "none"},
            "name and revision": self._subject,
            "name": lambda: {"name": f"#{some()}"},
            "name that many have": lambda: {"name": "main"},
            "name that some have": lambda: {"name": f"release-{some() % 97}"},
            "name in a project": lambda: {
                "project": project(),
                "name": f"release-{some() % 97}",
            },
            "common name in a project": lambda: {"project": project(), "name": "main"},
            "common label": lambda: {"label": f"team=team-{some() % 10}"},
            "label": lambda: {"label": "nightly=yes"},
            "rare label": lambda: {"label": "bisect=yes"},
            "unknown label": lambda: {"label": f"team={some()}"},
            "two labels": lambda: {"label": ["nightly=yes", f"team=team-{some() % 10}"]},
            "label in a project": lambda: {"project": project(), "label": "nightly=yes"},
            "label, failed": lambda: {"label": "nightly=yes", "state": "failed"},
            "rare label, failed": lambda: {"label": "bisect=yes", "state": "failed"},
            "label, queued": lambda: {"label": "nightly=yes", "state": "queued"},
            "kind": lambda: {"kind": "commit"},
            "rare kind": lambda: {"kind": "build"},
            "rare kind, failed": lambda: {"kind": "build", "state": "failed"},
            "kind, expired": lambda: {"kind": "package", "state": "expired"},
            "unknown kind": lambda: {"kind": "nothing"},
            "time range": self._range,
            "time range, failed": lambda: {"state": "failed", **self._range()},
            "time range, label": lambda: {"label": "bisect=yes", **self._range()},
            "time range, project": lambda: {"project": project(), **self._range()},
            "everything, nothing found": lambda: {
                "project": project(),
                "state": "failed",
                "kind": "package",
                "label": "bisect=yes",
            },
        }
        return {
            "ticket": lambda: self._get(f"/v1/tickets/{some()}"),
            "its tasks": lambda: self._get(f"/v1/tickets/{some()}/tasks"),
            "its attempts": lambda: self._get(f"/v1/tickets/{some()}/attempts"),
            "its events": lambda: self._get(
                f"/v1/tickets/{some() // ARCHIVED * ARCHIVED or ARCHIVED}/events"
            ),
            "its results": lambda: self._get("/v1/results", ticket=some()),
            **{
                f"tickets: {name}": lambda query=query: self._get("/v1/tickets", **query())  # type: ignore[misc]
                for name, query in listed.items()
            },
            "queue": lambda: self._get("/v1/queue"),
            "queue of a project": lambda: self._get("/v1/queue", project=project()),
            "queue of a class": lambda: self._get("/v1/queue", **{"class": class_of({})}),
            "queue of an idle class": lambda: self._get("/v1/queue", **{"class": class_of(ARM)}),
            "results of a test case": lambda: self._get("/v1/results", testcase=self._case()),
            "results of a common one": lambda: self._get("/v1/results", testcase="boot"),
            "results, failed": lambda: self._get(
                "/v1/results", testcase=self._case(), outcome="failed"
            ),
            "results of a common one, failed": lambda: self._get(
                "/v1/results", testcase="boot", outcome="failed"
            ),
            "results of a common one in a project": lambda: self._get(
                "/v1/results", testcase="boot", project=project()
            ),
        }

    async def turn(self) -> None:
        """Turn pages, so that the deep one is known."""
        for _ in range(DEEP):
            page = await self._get("/v1/tickets", limit=1000, **self._deep)
            if page["next"] is None:
                return
            self._deep = {"cursor": page["next"]}

    def _some(self) -> int:
        return self._chance.randint(1, self._tickets)

    def _project(self) -> str:
        return f"project-{self._chance.randrange(300)}"

    def _case(self) -> str:
        return f"upgrade-{self._chance.randrange(5_000)}"

    def _subject(self) -> dict[str, Any]:
        return {"name": f"#{self._some()}", "revision": "c0ffee"}

    def _range(self) -> dict[str, Any]:
        since = NOON - timedelta(seconds=5 * self._some())
        return {"since": since.isoformat(), "before": (since + timedelta(hours=1)).isoformat()}

    async def _get(self, path: str, **query: Any) -> Any:
        return await get(self._client, path, **query)


async def queries(system: System, settings: Settings) -> Figures:
    """Make the rows, then ask each question a hundred times, one after another."""
    began = perf_counter()
    async with reading(system) as service:
        assert service.database is not None
        config, views = service.config, address_of(service.database, "tickets")
        archive = address_of(service.database, "history") if config.kafka else service.database
        await fill(views, archive, settings.tickets, service.log.partitions)
        made = perf_counter() - began
        async with open_pool(views, 1) as pool, client(service) as asker:
            size, count = await pool.fetchval(BYTES), await pool.fetchval(ROWS, config.schema)
            asked = Asked(asker, settings.tickets)
            await asked.turn()
            system.meter.start()
            took = {name: await _times(ask) for name, ask in asked.questions().items()}
            took["attempts of a worker (SQL)"] = await _times(lambda: _of_worker(pool))
    every = sorted(seconds for times in took.values() for seconds in times)
    return figures(
        system,
        "queries",
        changes=len(every),
        tickets=settings.tickets,
        seconds=sum(every),
        cpu=system.meter.used(),
        latencies=every,
        seconds_to_make=round(made, 1),
        rows=count,
        gigabytes=round(size / 1e9, 2),
        slowest_median_ms=round(max(map(median, took.values())) * 1e3, 2),
        median_ms={name: round(median(times) * 1e3, 2) for name, times in took.items()},
        p99_ms_by_question={
            name: round(sorted(times)[len(times) * 99 // 100] * 1e3, 2)
            for name, times in took.items()
        },
    )


async def _times(ask: Asking) -> list[float]:
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < MOST:
        times.append(await seconds(ask))
    return times


async def _of_worker(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await pool.fetch(
        "SELECT * FROM attempts WHERE worker = 'worker-7' ORDER BY claimed_at DESC LIMIT 101"
    )
