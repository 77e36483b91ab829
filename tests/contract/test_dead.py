"""What can be done with dead letters on every log (the port is `adapters/dead.py`)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import structlog.testing

from adapters.asking import asking
from adapters.codec import Codec
from adapters.dead import (
    SHOWN,
    DeadLetters,
    Letter,
    LetterFilter,
    LetterSettled,
    NoSuchLetter,
    NotInjectable,
)
from adapters.kafka.dead import open_dead as kafka_dead
from adapters.log import Log
from adapters.postgres.connection import Address
from adapters.postgres.dead import open_dead as postgres_dead
from adapters.postgres.views.view import address_of
from domain.decider import Deciders
from domain.envelope import Answer, Submitted
from domain.errors import Invalid
from tests.contract.counter import (
    CODEC,
    COUNTERS,
    SENDERS_CODEC,
    Count,
    Explode,
    Unknown,
    asked,
    stream_in,
)
from tests.contract.places import Place
from tests.contract.places_kafka import KafkaPlace
from tests.contract.test_engine import running, total
from workers.engine import Engine

pytestmark = pytest.mark.service

Opening = Callable[..., AbstractAsyncContextManager[DeadLetters]]

OLD = Deciders([msgspec.structs.replace(COUNTERS, commands=(Explode,))])
"""Of an engine that does not know what it is to count."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is put aside here is put aside on purpose."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def opened(place: Place, address: Address) -> Opening:
    """A process's view of the dead letters of a log."""

    def opened(log: Log, codec: Codec = CODEC) -> AbstractAsyncContextManager[DeadLetters]:
        if isinstance(place, KafkaPlace):
            return kafka_dead(place.address, address_of(address, "dead"), log, codec)
        return postgres_dead(address, log, codec)

    return opened


async def put_aside(place: Place, *commands: Submitted, partitions: int = 1) -> list[Answer]:
    """Have commands decided by an engine that is too old for them."""
    codec = Codec(OLD)
    async with place.open(partitions, codec=codec) as log, asking(log) as asker:
        engine = Engine("old", log, OLD, codec)
        task = asyncio.create_task(engine.run())
        answers = await asyncio.gather(*map(asker.ask, commands))
        engine.stop()
        await task
    return answers


@asynccontextmanager
async def misplaced(place: Place, opened: Opening, id_: UUID) -> AsyncIterator[tuple[Log, Any]]:
    """A log of two partitions, with engine, where a command lies in the wrong inbox."""
    async with place.open(2) as log, running(log), opened(log) as letters:
        await place.put_command(0, stream=stream_in(1, 2), id=id_)
        async with asking(log) as asker:
            await asker.ask(asked(Count(0), stream_in(0, 2)))
        yield log, letters


async def decided(log: Log, stream: str = "counter/1") -> None:
    """Wait until all is decided that was sent to the stream."""
    async with asking(log) as asker:
        await asker.ask(asked(Count(0), stream))


async def listed(letters: DeadLetters, **asked: Any) -> list[Letter]:
    """All of them, page by page."""
    found: list[Letter] = []
    cursor: str | None = None
    while True:
        page = await letters.page(LetterFilter(cursor=cursor, **asked))
        found += page.rows
        cursor = page.next
        if cursor is None:
            return found


async def test_letters_are_listed_with_what_could_be_read(place: Place, opened: Opening) -> None:
    first, second = asked(Count(1), "counter/1"), asked(Count(2), "counter/2")
    await put_aside(place, first)
    await put_aside(place, second)
    async with place.open() as log, opened(log) as letters:
        newer, older = await listed(letters)
        assert [2] == list(await letters.count())
    assert (str(first.id), str(second.id)) == (older.command, newer.command)
    assert ("command", "counter/2", "test.count", "a test", 0, 2) == (
        newer.kind,
        newer.stream,
        newer.type,
        newer.actor,
        newer.partition,
        newer.position,
    )
    assert "unknown command 'test.count'" in newer.reason
    assert older.at <= newer.at
    assert newer.size > 0
    assert newer.settled is None


async def test_a_letter_is_shown_with_what_it_holds(place: Place, opened: Opening) -> None:
    await put_aside(place, asked(Count(4711)))
    async with place.open() as log, opened(log) as letters:
        [letter] = await listed(letters)
        shown = await letters.show(letter.id)
    assert letter == shown.letter
    assert shown.content.text is not None
    assert '"n":4711' in shown.content.text
    assert not shown.content.cut


async def test_an_injected_command_is_decided_however_short_its_patience_was(
    place: Place, opened: Opening
) -> None:
    await put_aside(place, asked(Count(3), patience=1e-9))
    async with place.open() as log, running(log), opened(log) as letters:
        [letter] = await listed(letters)
        injected = await letters.inject(letter.id, "alice")
        await decided(log)
        assert 3 == await total(log)
        assert [] == await listed(letters)
        assert [0] == list(await letters.count())
        assert [injected] == await listed(letters, settled=True)
    assert injected.settled is not None
    assert ("injected", "alice", None) == (
        injected.settled.how,
        injected.settled.by,
        injected.settled.why,
    )
    assert injected.settled.at >= letter.at


async def test_a_letter_that_two_inject_at_once_is_decided_once_and_settled_by_one(
    place: Place, opened: Opening
) -> None:
    await put_aside(place, asked(Count(3)))
    async with place.open() as log, running(log), opened(log) as one, opened(log) as other:
        [letter] = await listed(one)
        came = await asyncio.gather(
            *(each.inject(letter.id, "alice") for each in (one, other)), return_exceptions=True
        )
        await decided(log)
        assert 3 == await total(log)
        assert sorted(["Letter", "LetterSettled"]) == sorted(type(each).__name__ for each in came)
        [settled] = await listed(one, settled=True)
        assert [settled] == await listed(other, settled=True)


async def test_a_command_that_was_accepted_after_all_changes_nothing_when_injected(
    place: Place, opened: Opening
) -> None:
    id_, stream = uuid4(), stream_in(1, 2)
    async with misplaced(place, opened, id_) as (log, letters):
        async with asking(log) as asker:
            answer = await asker.ask(asked(Count(), stream, id=id_))
            [letter] = await listed(letters)
            await letters.inject(letter.id, "alice")
            await decided(log, stream)
        assert answer.sequence + 1 == await log.end(1)  # and one that `decided` has noted
        assert [0, 0] == list(await letters.count())


async def test_an_injected_command_goes_to_the_partition_of_its_stream(
    place: Place, opened: Opening
) -> None:
    id_, stream = uuid4(), stream_in(1, 2)
    async with misplaced(place, opened, id_) as (log, letters):
        [letter] = await listed(letters)
        assert "lives in partition 1" in letter.reason
        assert [1, 0] == list(await letters.count())
        await letters.inject(letter.id, "alice")
        async with asking(log) as asker:
            assert 1 == (await asker.ask(asked(Count(), stream, id=id_))).version
        assert 1 == await log.end(1)


async def test_what_is_put_aside_again_is_a_new_letter(place: Place, opened: Opening) -> None:
    async with (
        place.open(1) as log,
        place.open(codec=SENDERS_CODEC) as ahead,
        running(log),
        asking(ahead) as asker,
        opened(ahead, SENDERS_CODEC) as letters,
    ):
        command = asked(Unknown())
        await asker.ask(command)
        [before] = await listed(letters)
        await letters.inject(before.id, "alice")
        await decided(log)
        [after] = await listed(letters)
        assert after.id != before.id
        assert str(command.id) == before.command == after.command


async def test_what_cannot_be_understood_is_not_injected_and_stays(
    place: Place, opened: Opening
) -> None:
    await put_aside(place, asked(Unknown()))
    async with place.open() as log, opened(log) as letters:
        [letter] = await listed(letters)
        with pytest.raises(NotInjectable, match="unknown command 'test"):
            await letters.inject(letter.id, "alice")
        assert [letter] == await listed(letters)
        assert 1 == await log.inbox_end(0)


async def test_a_dropped_letter_is_remembered_with_who_dropped_it_and_why(
    place: Place, opened: Opening
) -> None:
    await put_aside(place, asked(Count()))
    async with place.open() as log, opened(log) as letters:
        [letter] = await listed(letters)
        dropped = await letters.drop(letter.id, "alice", "it is old")
        assert dropped.settled is not None
        assert ("dropped", "alice", "it is old") == (
            dropped.settled.how,
            dropped.settled.by,
            dropped.settled.why,
        )
        assert [] == await listed(letters)
        assert dropped == (await letters.show(letter.id)).letter
        for late in (letters.drop(letter.id, "bob"), letters.inject(letter.id, "bob")):
            with pytest.raises(LetterSettled, match="alice has dropped it"):
                await late
        assert 1 == await log.inbox_end(0)


async def test_a_letter_that_is_not_there_is_missing(place: Place, opened: Opening) -> None:
    async with place.open(1) as log, opened(log) as letters:
        for id_ in ("0-4711", "9-1", "00-1", "1", "x"):
            for asking_for in (letters.show(id_), letters.inject(id_, "a"), letters.drop(id_, "a")):
                with pytest.raises(NoSuchLetter, match=repr(id_)):
                    await asking_for


async def test_letters_and_what_became_of_them_survive_a_restart(
    place: Place, opened: Opening
) -> None:
    await put_aside(place, *(asked(Count(n)) for n in range(3)))
    async with place.open() as log, opened(log) as letters:
        found = await listed(letters)
        dropped = await letters.drop(found[1].id, "alice", "it is old")
    async with place.open() as log, opened(log) as letters:
        assert [found[0], found[2]] == await listed(letters)
        assert [dropped] == await listed(letters, settled=True)


async def test_rubbish_of_any_size_is_listed_and_shown(place: Place, opened: Opening) -> None:
    rubbish = [b"{not json", b"\xff\x00", b"[" * 100_000, b'{"n":"' + b"\xc3\xa9" * 400_000 + b'"}']
    async with place.open(1) as log, running(log), opened(log) as letters:
        for data in rubbish:
            await place.put_command(0, data=data)
        await decided(log)
        found = (await listed(letters))[::-1]
        assert len(rubbish) == len(found)
        for letter, data in zip(found, rubbish, strict=True):
            shown = await letters.show(letter.id)
            content = shown.content
            assert letter.size >= len(data)
            assert (len(data) > SHOWN) == content.cut
            assert (content.text is None) == (data == rubbish[1])
            assert len(content.text or "") <= SHOWN
            with pytest.raises(NotInjectable):
                await letters.inject(letter.id, "alice")


async def test_many_letters_are_paged_each_of_them_once(place: Place, opened: Opening) -> None:
    commands = [asked(Count(), f"counter/{n}") for n in range(1_500)]
    await put_aside(place, *commands, partitions=2)
    async with place.open() as log, opened(log) as letters:
        found = await listed(letters, limit=400)
        assert {str(one.id) for one in commands} == {one.command for one in found}
        assert len(commands) == len(found) == sum(await letters.count())
        assert sorted((one.at for one in found), reverse=True) == [one.at for one in found]


async def test_a_cursor_that_was_not_handed_out_is_refused(place: Place, opened: Opening) -> None:
    async with place.open(1) as log, opened(log) as letters:
        with pytest.raises(Invalid, match="cursor"):
            await letters.page(LetterFilter(cursor="rubbish"))
