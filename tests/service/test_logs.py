"""Logs in PostgreSQL and an object store, also where a process dies in the middle of its work."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from adapters.log import Unavailable
from adapters.objects import Objects, open_objects
from adapters.postgres.connection import Address, connect, open_pool
from adapters.postgres.logs import BEHIND, SEGMENT, Logs, OutOfPlace, TooLong
from adapters.postgres.preparing import prepare
from tests.contract.stores import bucket, environment, s3_server, variables
from workers.settling import Settling

pytestmark = pytest.mark.service

MOST = 2**40
OF = ("t-1", 2, "build")
LOG = OF[:2]
NOW = timedelta()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url, environment(variables(url)):
        yield url


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return open_objects(str(tmp_path), "")
    return open_objects(f"s3://{bucket(request.getfixturevalue('s3'))}/logs", "")


@asynccontextmanager
async def opened(address: Address, objects: Objects) -> AsyncIterator[Logs]:
    await prepare(address, "logs")
    async with open_pool(address, 4) as pool:
        yield Logs(pool, objects, address.channel("logs"))


@pytest_asyncio.fixture
async def logs(address: Address, objects: Objects) -> AsyncIterator[Logs]:
    async with opened(address, objects) as logs:
        yield logs


async def whole(logs: Logs, start: int = 0, end: int | None = None) -> bytes:
    state = await logs.state(*LOG)
    assert state is not None
    size = state.size if end is None else end
    return b"".join([piece async for piece in logs.read(*LOG, start, size)])


async def count(address: Address, table: str) -> int:
    connection = await connect(address)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


def said(size: int) -> bytes:
    return b"".join(b"line %d of the log\n" % n for n in range(size // 18))[:size]


class Away(Objects):
    """A store that is away until it comes again."""

    def __init__(self, store: Objects) -> None:
        self.store: Objects | None = None
        self._behind = store

    def come(self) -> None:
        self.store = self._behind

    async def put(self, name: str, parts: bytes | AsyncIterator[bytes]) -> None:
        if self.store is None:
            raise Unavailable("the object store: away")
        await self.store.put(name, parts)

    async def read(self, name: str) -> bytes:
        if self.store is None:
            raise Unavailable("the object store: away")
        return await self.store.read(name)


async def test_what_was_appended_is_read(logs: Logs) -> None:
    await logs.append(*OF, 0, b"one\n", most=MOST)
    state = await logs.append(*OF, 4, b"two\n", most=MOST)
    assert (8, False) == (state.size, state.ended)
    assert b"one\ntwo\n" == await whole(logs)
    assert b"e\ntw" == await whole(logs, 2, 6)


async def test_nobody_has_said_anything(logs: Logs) -> None:
    assert await logs.state(*LOG) is None


async def test_the_same_again_changes_nothing(logs: Logs) -> None:
    for _ in range(2):
        await logs.append(*OF, 0, b"one\n", most=MOST)
        await logs.append(*OF, 4, b"two\n", last=True, most=MOST)
    assert b"one\ntwo\n" == await whole(logs)


async def test_what_goes_on_behind_what_is_there_is_appended(logs: Logs) -> None:
    await logs.append(*OF, 0, b"one\n", most=MOST)
    await logs.append(*OF, 0, b"one\ntwo\n", last=True, most=MOST)
    assert b"one\ntwo\n" == await whole(logs)


async def test_a_gap_is_refused_and_the_end_told(logs: Logs) -> None:
    with pytest.raises(OutOfPlace) as nothing:
        await logs.append(*OF, 4, b"two\n", most=MOST)
    await logs.append(*OF, 0, b"one\n", most=MOST)
    with pytest.raises(OutOfPlace) as gap:
        await logs.append(*OF, 5, b"two\n", most=MOST)
    assert [("log-gap", 0), ("log-gap", 4)] == [
        (each.value.kind, each.value.end) for each in (nothing, gap)
    ]


async def test_other_bytes_are_refused_also_where_they_are_sealed(logs: Logs) -> None:
    await logs.append(*OF, 0, said(SEGMENT), most=MOST)
    await logs.append(*OF, SEGMENT, b"one\n", most=MOST)
    for start in (SEGMENT - 4, SEGMENT):
        with pytest.raises(OutOfPlace) as differs:
            await logs.append(*OF, start, b"two\n", most=MOST)
        assert ("log-differs", SEGMENT + 4) == (differs.value.kind, differs.value.end)


async def test_behind_the_last_bytes_nothing_is_appended(logs: Logs) -> None:
    await logs.append(*OF, 0, b"one\n", last=True, most=MOST)
    with pytest.raises(OutOfPlace) as ended:
        await logs.append(*OF, 4, b"two\n", most=MOST)
    assert "log-ended" == ended.value.kind


async def test_a_log_has_so_many_bytes_and_no_more(logs: Logs) -> None:
    with pytest.raises(TooLong):
        await logs.append(*OF, 0, b"123456789", most=8)
    await logs.append(*OF, 0, b"1234", most=8)
    with pytest.raises(TooLong):
        await logs.append(*OF, 4, b"56789", most=MOST)
    await logs.append(*OF, 4, b"5678", most=8)
    assert b"12345678" == await whole(logs)


async def test_the_tables_stay_small_and_the_log_is_whole(
    logs: Logs, address: Address, objects: Objects
) -> None:
    text, step = said(5 * SEGMENT + 1234), 300_000
    for start in range(0, len(text), step):
        await logs.append(*OF, start, text[start : start + step], most=MOST)
    assert await count(address, "chunks") <= SEGMENT // step + 1
    assert text == await whole(logs)
    assert text[1_000_000:3_000_000] == await whole(logs, 1_000_000, 3_000_000)
    state = await logs.append(*OF, len(text), b"", last=True, most=MOST)
    assert state.ended
    assert 0 == await count(address, "chunks")
    assert text == await whole(logs)


async def test_binary_rubbish_is_kept_as_it_is(logs: Logs) -> None:
    rubbish = bytes(range(256)) * 8192
    for start in range(0, len(rubbish), 2**20):
        await logs.append(*OF, start, rubbish[start : start + 2**20], most=MOST)
    await logs.append(*OF, len(rubbish), b"\xff\x00", last=True, most=MOST)
    assert rubbish + b"\xff\x00" == await whole(logs)


async def test_while_the_store_is_away_logs_are_kept_here_up_to_a_bound(
    address: Address, objects: Objects
) -> None:
    away = Away(objects)
    async with opened(address, away) as logs:
        part, start = bytes(SEGMENT), 0
        while start <= BEHIND - SEGMENT:
            await logs.append(*OF, start, part, most=MOST)
            start += SEGMENT
        assert bytes(start) == await whole(logs)
        with pytest.raises(Unavailable):
            await logs.append(*OF, start, part, most=MOST)
        away.come()
        await logs.append(*OF, start, part, last=True, most=MOST)
        await logs.seal(*LOG)
        assert bytes(start + SEGMENT) == await whole(logs)
    assert 0 == await count(address, "chunks")


@pytest.mark.parametrize("step", ["put", "noted"])
async def test_a_seal_that_was_broken_off_is_done_again(
    address: Address, objects: Objects, step: str
) -> None:
    """The process dies before, or behind, the object; or everything is done twice at a time."""

    class Died(Exception):
        pass

    class Dying(Away):
        async def put(self, name: str, parts: bytes | AsyncIterator[bytes]) -> None:
            if step == "noted":
                await self._behind.put(name, parts)
            raise Died

    text = said(SEGMENT + 5)
    async with opened(address, Dying(objects)) as dying:
        with pytest.raises(Died):
            await dying.append(*OF, 0, text, last=True, most=MOST)
    async with opened(address, objects) as logs:
        assert text == await whole(logs)
        await settle(logs, lambda: set())
        assert text == await whole(logs)
    assert (0, 1) == (await count(address, "chunks"), await count(address, "segments"))


async def settle(logs: Logs, over: Callable[[], set[tuple[str, int]]]) -> None:
    async def ask(attempts: Any) -> set[tuple[str, int]]:
        return over()

    await Settling(logs, ask, quiet=NOW).round()


async def test_the_log_of_an_attempt_that_is_over_ends(logs: Logs, address: Address) -> None:
    await logs.append(*OF, 0, b"one\n", most=MOST)
    await settle(logs, lambda: set())
    state = await logs.state(*LOG)
    assert state is not None
    assert not state.ended
    await settle(logs, lambda: {LOG})
    state = await logs.state(*LOG)
    assert state is not None
    assert (True, 4, 0) == (state.ended, state.sealed, await count(address, "chunks"))
    assert [] == await logs.unsettled(NOW)
    assert b"one\n" == await whole(logs)


async def test_what_cannot_be_settled_is_settled_when_it_can(logs: Logs) -> None:
    await logs.append(*OF, 0, b"one\n", most=MOST)
    troubles: list[Exception] = [ValueError("no such table"), Unavailable("it is away")]

    async def over(attempts: Any) -> set[tuple[str, int]]:
        if troubles:
            raise troubles.pop()
        return {LOG}

    with capture_logs() as said:
        running = asyncio.create_task(Settling(logs, over, every=0.001, quiet=NOW).run())
        async with asyncio.timeout(10):
            while await logs.unsettled(NOW):
                await asyncio.sleep(0.01)
        running.cancel()
    assert ["logs_not_settled", "logs_not_settled", "log_ended"] == [one["event"] for one in said]


async def test_a_log_without_a_word_settles(logs: Logs) -> None:
    await logs.append(*OF, 0, b"", last=True, most=MOST)
    assert [] == await logs.unsettled(NOW)
    assert b"" == await whole(logs)
