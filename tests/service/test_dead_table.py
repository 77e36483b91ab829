"""The table of dead letters in PostgreSQL, as older versions have left it and while it is used."""

import asyncio
from uuid import uuid4

import pytest

from adapters.dead import LetterFilter
from adapters.postgres.connection import Address, connect, open_pool
from adapters.postgres.dead import open_dead
from adapters.postgres.letters import LetterTable
from adapters.postgres.log import migrate, open_log
from tests.contract.counter import CODEC

pytestmark = pytest.mark.service

FIRST = """
CREATE TABLE dead_letters (
    LIKE commands,
    reason  text NOT NULL,
    dead_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, position)
)
"""
PUT_ASIDE = """
INSERT INTO dead_letters (partition, position, at, id, stream, topic, schema, actor, data, reason)
VALUES (0, $1, now(), $2, 'counter/1', 'test.count', 1, 'a test', '{}', 'it was long ago')
"""


async def test_the_letters_of_the_first_version_can_be_settled(address: Address) -> None:
    await migrate(address, 1)
    connection = await connect(address)
    await connection.execute("DROP TABLE dead_letters")
    await connection.execute(FIRST)
    await connection.execute(PUT_ASIDE, 7, uuid4())
    await connection.close()
    async with open_log(address, CODEC) as log, open_dead(address, log, CODEC) as letters:
        [letter] = (await letters.page(LetterFilter())).rows
        assert ("0-7", "it was long ago") == (letter.id, letter.reason)
        await letters.drop(letter.id, "alice")
        assert [0] == list(await letters.count())


async def test_a_log_is_opened_while_a_commit_puts_something_aside(address: Address) -> None:
    await migrate(address, 1)
    connection = await connect(address)
    async with connection.transaction():
        await connection.execute(PUT_ASIDE, 1, uuid4())
        async with asyncio.timeout(5):
            assert 1 == len(await migrate(address, 1))
    await connection.close()


@pytest.mark.parametrize("settled", [False, True])
async def test_a_page_of_many_letters_costs_an_index(address: Address, *, settled: bool) -> None:
    await migrate(address, 1)
    connection = await connect(address, enable_seqscan="off")
    await connection.executemany(PUT_ASIDE, [(n, uuid4()) for n in range(1, 200)])
    await connection.execute("ANALYZE dead_letters")
    async with open_pool(address, 1) as pool:
        table = LetterTable(pool, "of_log")
        first = await table.page(LetterFilter(limit=10))
        asked = LetterFilter(limit=10, settled=settled, cursor=first.next)
        statement, behind = table.statement(asked)
    assert 3 == len(behind)
    plan = [row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *behind)]
    name = "dead_letters_settled" if settled else "dead_letters_open"
    assert any(f"Index Scan Backward using {name}" in line for line in plan), plan
    assert not any("Sort" in line for line in plan)
    await connection.close()
