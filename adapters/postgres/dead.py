"""Dead letters of the log in PostgreSQL: rows of a table of the log's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from adapters.codec import Codec, Undecodable
from adapters.dead import (
    SHOWN,
    Content,
    How,
    Letter,
    LetterFilter,
    NoSuchLetter,
    Shown,
    not_injectable,
    place_of,
    send_again,
    unsettled,
)
from adapters.log import Log
from adapters.postgres.connection import Address, open_pool, translated
from adapters.postgres.letters import SQL, LetterTable
from domain.envelope import Submitted
from projections.queries import Page

log = structlog.get_logger()


@asynccontextmanager
async def open_dead(
    address: Address, log: Log, codec: Codec
) -> AsyncIterator["PostgresDeadLetters"]:
    """The dead letters of the log at an address, which is open."""
    async with open_pool(address, size=2) as pool:
        yield PostgresDeadLetters(pool, log, codec)


class PostgresDeadLetters:
    """Letters as rows of `dead_letters`; the place of one is its position in the inbox."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", log: Log, codec: Codec) -> None:
        self._pool = pool
        self._log = log
        self._codec = codec
        self._table = LetterTable(pool, "of_log")

    async def page(self, asked: LetterFilter) -> Page[Letter]:
        """Letters, newest first."""
        return await self._table.page(asked)

    async def show(self, id_: str) -> Shown:
        """The letter and what it holds."""
        letter = await self._table.find(id_)
        if letter is None:
            raise NoSuchLetter(letter=id_)
        with translated():
            data = await self._pool.fetchval(SQL["content"], *place_of(id_), SHOWN + 1)
        return Shown(letter, Content.of(data))

    async def inject(self, id_: str, actor: str) -> Letter:
        """Send the command again, with its id."""
        unsettled(id_, await self._table.find(id_))
        await send_again(self._log, id_, await self._command(id_))
        return await self._settled(id_, "injected", actor, None)

    async def _command(self, id_: str) -> Submitted:
        with translated():
            row = await self._pool.fetchrow(SQL["command"], *place_of(id_))
        assert row is not None
        try:
            command = self._codec.decode_command(row["topic"], row["schema"], row["data"])
        except Undecodable as problem:
            raise not_injectable(id_, problem) from problem
        return Submitted(
            id=row["id"],
            stream=row["stream"],
            command=command,
            actor=row["actor"],
            reply_to=row["reply_to"],
            traceparent=row["traceparent"],
        )

    async def drop(self, id_: str, actor: str, reason: str | None = None) -> Letter:
        """Have done with it."""
        unsettled(id_, await self._table.find(id_))
        return await self._settled(id_, "dropped", actor, reason)

    async def _settled(self, id_: str, how: How, by: str, why: str | None) -> Letter:
        """The letter as it is now. Raises LetterSettled if somebody was quicker."""
        with translated():
            first = await self._pool.fetch(SQL["settle"], *place_of(id_), how, by, why)
        letter = await self._table.find(id_)
        assert letter is not None
        if not first:
            unsettled(id_, letter)
        log.info("dead_letter_settled", letter=id_, how=how, actor=by, why=why)
        return letter

    async def count(self) -> Sequence[int]:
        """How many wait for somebody, in each partition."""
        return await self._table.count(self._log.partitions)
