"""The rows of the views of tickets: as they are in PostgreSQL, and as the fold has them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.view import address_of
from domain.envelope import Recorded
from projections.rows import Attempt, Result, Task, Ticket
from tests.unit.tables import Tables

AS_JSON = ("labels", "waits_for", "spec", "artifacts")
KINDS: dict[str, type[Any]] = {
    "tickets": Ticket,
    "tasks": Task,
    "attempts": Attempt,
    "results": Result,
}


async def tables(address: Address) -> dict[str, list[dict[str, Any]]]:
    """All rows, by table."""
    connection = await connect(address_of(address, "tickets"))
    try:
        found = {}
        for table, kind in KINDS.items():
            keys = ", ".join(kind.__struct_fields__[:3])
            found[table] = [
                {
                    name: msgspec.json.decode(value) if name in AS_JSON else value
                    for name, value in row.items()
                }
                for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY {keys}")
            ]
        return found
    finally:
        await close(connection)


def expected(events: Sequence[Recorded]) -> dict[str, list[dict[str, Any]]]:
    folded = Tables()
    folded.follow([events])
    return {
        table: [
            {
                field.rstrip("_"): msgspec.json.decode(msgspec.json.encode(value))
                if field in AS_JSON
                else value
                for field, value in msgspec.structs.asdict(row).items()
            }
            for _, row in sorted(getattr(folded, table).items())
        ]
        for table in KINDS
    }
