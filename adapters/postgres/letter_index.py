"""An index of dead letters that lie elsewhere, in the order in which their topic is read.

It follows from the topic alone, so it can be dropped at any time, and any number of processes may
fill it: each page of records is entered by the first that has read it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg
from msgspec import Struct

from adapters.dead import Letter, Settlement, place_of
from adapters.log import Genesis
from adapters.postgres.connection import Address, open_pool, translated
from adapters.postgres.letters import SQL, LetterTable
from adapters.postgres.views.view import prepare


class Settling(Struct, frozen=True):
    """That the letter at a place is settled, as the record at the place `said_in` says."""

    place: int
    said_in: int
    settlement: Settlement


@asynccontextmanager
async def open_index(address: Address, genesis: Sequence[Genesis]) -> AsyncIterator["LetterIndex"]:
    """The index at an address, made if it is not there, for the log with this *genesis*.

    Raises WrongLog if it is of another log, and Unavailable.
    """
    await prepare(address, "letters", genesis)
    async with open_pool(address, size=2) as pool:
        yield LetterIndex(pool)


class LetterIndex(LetterTable):
    """Letters, what became of them, and how far each partition was read."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        super().__init__(pool, "of_index")

    async def read_to(self) -> Mapping[int, int]:
        """The place behind the last record that is entered, by partition."""
        with translated():
            rows = await self._pool.fetch(SQL["read_to"])
        return {row["partition"]: row["sequence"] for row in rows}

    async def enter(
        self,
        partition: int,
        start: int,
        end: int,
        letters: Sequence[Letter],
        settlings: Sequence[Settling],
    ) -> bool:
        """Enter what was read from a place to another; False if somebody else has come further."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetch(SQL["read_on"], partition, start, end):
                    return False
                await connection.executemany(SQL["add"], [_row(one) for one in letters])
                await connection.executemany(
                    SQL["settle_in_index"], [_settled(partition, one) for one in settlings]
                )
                return True

    async def forget(self, partition: int, read_to: int) -> None:
        """Begin a partition again, whose topic is not the one that was read."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetch(SQL["read_on"], partition, read_to, 0):
                    await connection.execute(SQL["forget"], partition)

    async def settled_in(self, id_: str) -> int | None:
        """The place of the record that says that the letter is settled."""
        with translated():
            place: int | None = await self._pool.fetchval(SQL["settled_in"], *place_of(id_))
        return place


def _row(letter: Letter) -> tuple[object, ...]:
    return (
        *place_of(letter.id),
        letter.at,
        letter.kind,
        letter.topic,
        letter.partition,
        letter.position,
        letter.stream,
        letter.type,
        letter.command,
        letter.actor,
        letter.reason,
        letter.size,
    )


def _settled(partition: int, settling: Settling) -> tuple[object, ...]:
    one = settling.settlement
    return partition, settling.place, settling.said_in, one.how, one.by, one.at, one.why
