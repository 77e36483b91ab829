"""Feeds: what several views take is read once, in order, and nobody waits for long."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from adapters.log import Gap
from domain.envelope import Stored
from domain.event import CommandNoted
from workers import feeds
from workers.feeds import Feeds, Reader

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(sequence: int) -> Stored:
    return Stored(
        id=UUID(int=sequence),
        originator_id="ticket/1",
        originator_version=sequence,
        event=CommandNoted(),
        time=NOON,
        actor="a test",
        causationid=UUID(int=0),
        sequence=sequence,
    )


class Written:
    """A log's partition that has so many events, in pages; it knows who follows it."""

    def __init__(self, end: int, page: int = 10) -> None:
        self.followed: list[int] = []
        self.under_way = 0
        self.damaged = False
        self._end = end
        self._page = page

    async def follow(
        self, partition: int, after: int = 0, *, stored: bool = False
    ) -> AsyncGenerator[Sequence[Stored], None]:
        self.followed.append(after)
        self.under_way += 1
        try:
            while after < self._end:
                behind = min(after + self._page, self._end)
                yield [event(n) for n in range(after + 1, behind + 1)]
                after = behind
                await asyncio.sleep(0)
            if self.damaged:
                raise Gap("the log lacks the next one")
            await asyncio.Event().wait()
        finally:
            self.under_way -= 1


def feeds_of(log: Any) -> Feeds:
    return Feeds(log)


async def taken(reader: Reader, end: int) -> list[int]:
    """The sequences that it takes up to this one."""
    found: list[int] = []
    while reader.after < end:
        found += [one.sequence for one in await reader.next()]
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BATCH", 30)
    monkeypatch.setattr(feeds, "ROOM", 60)
    monkeypatch.setattr(feeds, "PATIENCE", 0.02)


async def test_what_two_take_is_read_once() -> None:
    log = Written(1_000)
    shared = feeds_of(log)
    async with shared.reader(0, 0) as one, shared.reader(0, 0) as other:
        found = await asyncio.gather(taken(one, 1_000), taken(other, 1_000))
    assert (list(range(1, 1_001)),) * 2 == tuple(found)
    assert [0] == log.followed


async def test_one_that_stops_taking_is_not_waited_for() -> None:
    log = Written(1_000)
    shared = feeds_of(log)
    async with shared.reader(0, 0) as one, shared.reader(0, 0) as other:
        begun = [found.sequence for found in await other.next()]
        async with asyncio.timeout(5):
            assert list(range(1, 1_001)) == await taken(one, 1_000)
            assert list(range(begun[-1] + 1, 1_001)) == await taken(other, 1_000)
    assert [0, begun[-1]] == log.followed


async def test_one_that_has_caught_up_has_no_feed_of_its_own_any_more() -> None:
    log = Written(1_000)
    shared = feeds_of(log)
    async with shared.reader(0, 900) as ahead, shared.reader(0, 0) as behind:
        await taken(ahead, 1_000)
        await taken(behind, 1_000)
        waiting = [asyncio.create_task(reader.next()) for reader in (ahead, behind)]
        async with asyncio.timeout(5):
            while log.under_way > 1:
                await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
    assert [900, 0] == log.followed


async def test_nobody_follows_when_nobody_takes() -> None:
    log = Written(100)
    shared = feeds_of(log)
    async with shared.reader(0, 0) as one:
        await taken(one, 100)
    assert 0 == log.under_way


async def test_what_reading_raises_is_told_to_all() -> None:
    log = Written(100)
    log.damaged = True
    shared = feeds_of(log)
    async with shared.reader(0, 0) as one, shared.reader(0, 40) as other:
        for reader in (one, other):
            with pytest.raises(Gap):
                await taken(reader, 101)


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_comes_and_goes_gets_all_in_order(seed: int) -> None:
    chance = Random(seed)
    log = Written(2_000, page=chance.randint(1, 50))
    shared = feeds_of(log)

    async def follow(after: int) -> None:
        while after < 2_000:
            async with AsyncExitStack() as stack:
                reader = await stack.enter_async_context(shared.reader(0, after))
                for _ in range(chance.randint(1, 20)):
                    if after == 2_000:
                        return
                    page = [one.sequence for one in await reader.next()]
                    assert list(range(after + 1, after + 1 + len(page))) == page
                    after += len(page)
                    for _ in range(chance.choice((0, 0, 1, 5, 30))):
                        await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await asyncio.gather(*(follow(chance.choice((0, 0, 500, 1_500))) for _ in range(4)))
    assert 0 == log.under_way


class Stubborn(Written):
    """A log whose driver loses a cancellation, as some do."""

    async def follow(
        self, partition: int, after: int = 0, *, stored: bool = False
    ) -> AsyncGenerator[Sequence[Stored], None]:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()
        yield []


async def test_a_feed_ends_though_a_cancellation_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "ENDING", 0.01)
    log: Any = Stubborn(0)
    async with asyncio.timeout(10):
        async with Feeds(log).reader(0, 0) as reader:
            taking = asyncio.create_task(reader.next())
            await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait({taking})
