"""What a doctor asks the database: its clock, its size, and tickets that need somebody."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import time
from typing import Final

import asyncpg
import msgspec
from msgspec import Struct

from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from domain.workflow import Requirements

SQL: Final = load("doctor")

LONG: Final = timedelta(minutes=1)
"""How long a task waits before a doctor asks whether there is a worker that could take it."""

_requires: Final = msgspec.json.Decoder(Requirements).decode


class Machine(Struct, frozen=True):
    """`ahead` is by how many seconds our clock is ahead of the server's; `size` is in bytes."""

    ahead: float
    size: int


class Waiting(Struct, frozen=True):
    """So many tasks that have waited for LONG need a worker that has what this `requires`."""

    requires: Requirements
    tasks: int


class Tickets(Struct, frozen=True):
    """How many should have ended by themselves, and how many could not be folded on.

    What waits for a worker has done so since `waits_since`; what has for LONG is in `waiting`, the
    most first.
    """

    overdue: int
    quarantined: int
    waits_since: datetime | None
    waiting: Sequence[Waiting] = ()


async def look(pool: "asyncpg.Pool[asyncpg.Record]") -> tuple[Machine, Tickets]:
    """Look once, through a pool whose path has the views of tickets. Raises Unavailable."""
    with translated():
        machine = await pool.fetchrow(SQL["machine"])
        now = time()
        tickets = await pool.fetchrow(SQL["tickets"])
        waiting = [
            Waiting(_requires(row["requires"]), row["tasks"])
            for row in await pool.fetch(SQL["waiting"], LONG)
        ]
    assert machine is not None
    assert tickets is not None
    return Machine(now - machine["now"], machine["size"]), Tickets(**tickets, waiting=waiting)
