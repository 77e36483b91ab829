"""A partition with much history is taken over: from the whole log, and from a snapshot."""

from typing import Any

from adapters.postgres.connection import close, connect
from adapters.postgres.views.view import address_of
from tests.benchmarks.filling import events_of, fill
from tests.benchmarks.opened import Opened, opened
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.views import archived

OPEN_OF_TEN = 1
"""Tickets of ten that are open still."""

DAMAGE = "UPDATE parts SET data = set_byte(data, 0, 255 - get_byte(data, 0)) WHERE n = 0"
DELETION = "DELETE FROM snapshots"


async def open_(system: System, settings: Settings) -> Figures:
    """Fill a partition, and take it over with a snapshot and without one."""
    tickets = settings.events // events_of(10, OPEN_OF_TEN) * 10
    events = events_of(tickets, OPEN_OF_TEN)
    await fill(system.service, 0, tickets, OPEN_OF_TEN)
    await archived(system, events)
    system.meter.start()
    async with opened(system, "whole") as engine:
        whole = await _seen(engine)
    async with opened(system, "writer", snapshot_every=events) as engine:
        written = await engine.said("snapshot")
    async with opened(system, "snapshot") as engine:
        snapshot = await _seen(engine)
    await _do(system, DAMAGE)
    async with opened(system, "damaged") as engine:
        damaged = await _seen(engine)
    await _do(system, DELETION)
    async with opened(system, "deleted") as engine:
        deleted = await _seen(engine)
    return figures(
        system,
        "open",
        changes=events,
        tickets=tickets,
        seconds=whole["seconds"],
        cpu={},
        latencies=[snapshot["seconds"]],
        events=events,
        open_tickets=snapshot["streams"],
        closed_tickets=snapshot["closed"],
        whole_log=_shown(whole),
        with_snapshot=_shown(snapshot),
        snapshot_damaged=_shown(damaged),
        snapshot_deleted=_shown(deleted),
        seconds_to_write_the_snapshot=written["seconds"],
    )


async def _seen(engine: Opened) -> dict[str, Any]:
    return {
        **await engine.said("taken_over"),
        "mib": engine.bytes() / 2**20,
        "peak_mib": engine.bytes("VmHWM") / 2**20,
    }


def _shown(seen: dict[str, Any]) -> dict[str, float]:
    return {
        "seconds": seen["seconds"],
        "MiB": round(seen["mib"], 1),
        "peak MiB": round(seen["peak_mib"], 1),
    }


async def _do(system: System, statement: str) -> None:
    connection = await connect(address_of(system.database, "snapshots"))
    try:
        await connection.execute(statement)
    finally:
        await close(connection)
