"""What PostgreSQL shows: where everything has come to, and whether it is what the log says."""

import asyncio
from collections.abc import Sequence
from itertools import chain, count
from typing import Any
from uuid import uuid4

from adapters.asking import Asker, NoAnswer
from adapters.log import Log
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.view import address_of
from domain.envelope import Recorded, Submitted, partition_of
from domain.ticket import commands as c
from tests.chaos.checks import Events
from tests.chaos.progress import PATIENCE
from tests.contract.ticket_rows import expected, tables

ARCHIVED = (
    *("sequence", "originator_id", "originator_version", "id", "causationid", "time"),
    *("actor", "upto"),
)


class Views:
    """The views of a service in a database."""

    def __init__(self, log: Log, address: Address, *, has_archive: bool) -> None:
        self._log = log
        self._address = address
        self._names = (
            "tickets",
            "leases",
            "workers",
            "reactor",
            *(["history"] if has_archive else []),
        )

    async def settled(self, asker: Asker) -> None:
        """Wait until nothing is left to be done: by views, by reactors, by engines."""
        before, moved = None, asyncio.get_running_loop().time()
        while True:
            await self._decided(asker)
            ends = [await self._log.end(n) for n in range(self._log.partitions)]
            seen = [await self._sequences(name) for name in self._names]
            here = ends, seen, await self._outbox()
            if here == before and here == (ends, [ends] * len(self._names), 0):
                return
            now = asyncio.get_running_loop().time()
            moved = now if here != before else moved
            assert now < moved + PATIENCE, f"nothing moves any more at {here}"
            before = here
            await asyncio.sleep(0.1)

    async def _decided(self, asker: Asker) -> None:
        """Whatever was sent before has been decided when the answers to these come."""
        asked: dict[int, str] = {}
        for name in (f"ticket/nobody-{n}" for n in count()):
            asked.setdefault(partition_of(name, self._log.partitions), name)
            if len(asked) == self._log.partitions:
                break
        for stream in asked.values():
            try:
                await asker.ask(Submitted(uuid4(), stream, c.Seal(), actor="chaos"), PATIENCE)
            except NoAnswer as error:
                raise AssertionError("an engine does not answer") from error

    async def leases(self) -> Sequence[Any]:
        """The leases that there are."""
        return await self._rows("leases", "SELECT * FROM leases")

    async def _sequences(self, view: str) -> Sequence[int]:
        rows = await self._rows(view, "SELECT sequence FROM partitions ORDER BY partition")
        return [row["sequence"] for row in rows]

    async def _outbox(self) -> int:
        [row] = await self._rows("reactor", "SELECT count(*) AS n FROM outbox")
        return int(row["n"])

    async def _rows(self, view: str, query: str) -> Sequence[Any]:
        connection = await connect(address_of(self._address, view))
        try:
            return await connection.fetch(query)
        finally:
            await close(connection)

    async def check(self, events: Events) -> None:
        """The rows are the fold of the log, and the archive is the log."""
        rows = expected(list(chain.from_iterable(events.values())))
        for row in rows["tickets"]:
            row["partition"] = partition_of(f"ticket/{row['ticket']}", len(events))
        shown = await tables(self._address)
        for table, wanted in rows.items():
            assert len(wanted) == len(shown[table]), f"rows of {table} were lost or repeated"
            for row, found in zip(wanted, shown[table], strict=True):
                assert row == found
        if "history" in self._names:
            await self._check_archive(events)

    async def _check_archive(self, events: Events) -> None:
        columns = ", ".join(ARCHIVED)
        for partition, facts in events.items():
            query = f"SELECT {columns} FROM events WHERE partition = {partition} ORDER BY sequence"
            found = [tuple(row) for row in await self._rows("history", query)]
            assert [_columns(fact) for fact in facts] == found, f"the archive of {partition}"


def _columns(fact: Recorded) -> tuple[object, ...]:
    return tuple(getattr(fact, name) for name in ARCHIVED)
