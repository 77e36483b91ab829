"""What a doctor asks the database: its clock, its size, and tickets that need somebody."""

from datetime import datetime
from time import time
from typing import Final

import asyncpg
from msgspec import Struct

from adapters.postgres.connection import translated
from adapters.postgres.statements import load

SQL: Final = load("doctor")


class Machine(Struct, frozen=True):
    """`ahead` is by how many seconds our clock is ahead of the server's; `size` is in bytes."""

    ahead: float
    size: int


class Tickets(Struct, frozen=True):
    """How many should have ended by themselves, and how many could not be folded on.

    What waits for a worker has done so since `waits_since`.
    """

    overdue: int
    quarantined: int
    waits_since: datetime | None


async def look(pool: "asyncpg.Pool[asyncpg.Record]") -> tuple[Machine, Tickets]:
    """Look once, through a pool whose path has the views of tickets. Raises Unavailable."""
    with translated():
        machine = await pool.fetchrow(SQL["machine"])
        now = time()
        tickets = await pool.fetchrow(SQL["tickets"])
    assert machine is not None
    assert tickets is not None
    return Machine(now - machine["now"], machine["size"]), Tickets(**tickets)
