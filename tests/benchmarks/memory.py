"""What tickets cost an engine in memory: while they are open, and when they are closed."""

from tests.benchmarks.filling import OPENING, events_of, fill
from tests.benchmarks.opened import opened
from tests.benchmarks.report import Figures, figures
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import System
from tests.benchmarks.views import archived

ALL = 10


async def memory(system: System, settings: Settings) -> Figures:
    """Compare engines that took an empty partition over, open tickets, and as many closed ones."""
    tickets = settings.events // events_of(ALL, ALL // 2) * ALL
    async with opened(system, "empty") as engine:
        empty = engine.bytes()
    await fill(system.service, 0, tickets, ALL)
    events = OPENING * tickets
    await archived(system, events)
    async with opened(system, "open") as engine:
        open_, took = engine.bytes(), await engine.said("taken_over")
    await fill(system.service, tickets, tickets, 0)
    events += events_of(tickets, 0)
    await archived(system, events)
    async with opened(system, "closed") as engine:
        closed, last = engine.bytes(), await engine.said("taken_over")
    if (took["streams"], last["streams"], last["closed"]) != (tickets, tickets, tickets):
        raise AssertionError(f"{tickets} tickets were opened and closed: {took}, {last}")
    return figures(
        system,
        "memory",
        changes=events,
        tickets=2 * tickets,
        seconds=last["seconds"],
        cpu={},
        latencies=[last["seconds"]],
        open_tickets=tickets,
        closed_tickets=tickets,
        bytes_per_open_ticket=round((open_ - empty) / tickets),
        bytes_per_closed_ticket=round((closed - open_) / tickets, 1),
        engine_without_tickets_mib=round(empty / 2**20, 1),
    )
