"""What an engine promises on every log, whatever is asked of it and however often."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import structlog.testing

from adapters.asking import Asker, asking
from adapters.codec import RECORD_LIMIT, Codec, FutureEvent
from adapters.log import Gap, Log
from domain.decider import Deciders
from domain.envelope import Answer, Recorded
from tests.contract.counter import (
    CODEC,
    COUNTERS,
    DECIDERS,
    SENDERS_CODEC,
    Bewilder,
    Count,
    Counted,
    Counter,
    Explode,
    Poison,
    Unknown,
    asked,
    stream_in,
)
from tests.contract.places import Place
from workers.engine import Engine
from workers.partition import Partition

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong here goes wrong on purpose."""
    with structlog.testing.capture_logs():
        yield


@asynccontextmanager
async def running(log: Log, name: str = "a") -> AsyncIterator[Engine]:
    engine = Engine(name, log, DECIDERS, CODEC)
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        engine.stop()
        await task


@asynccontextmanager
async def served(place: Place, partitions: int = 1) -> AsyncIterator[tuple[Log, Asker]]:
    async with place.open(partitions) as log, running(log), asking(log) as asker:
        yield log, asker


async def events_of(log: Log, partition: int = 0) -> list[Recorded]:
    seen: list[Recorded] = []
    if end := await log.end(partition):
        async for page in log.follow(partition):
            seen += page
            if seen[-1].sequence >= end:
                break
    return seen


async def folded(log: Log, partition: int = 0, partitions: int = 1) -> Partition:
    """The partition as it is in the log."""
    fold = Partition(partition, partitions, DECIDERS, CODEC)
    for event in await events_of(log, partition):
        fold.fold(event)
    return fold


async def total(log: Log, stream: str = "counter/1") -> int:
    state: Any = (await folded(log)).streams[stream].state
    return int(state.total)


async def test_a_command_is_decided_recorded_and_answered(place: Place) -> None:
    async with served(place) as (log, asker):
        command = asked(Count(3))
        answer = await asker.ask(command)
        assert Answer(command_id=command.id, partition=0, version=1, sequence=1) == answer
        assert 3 == await total(log)


async def test_a_refused_command_is_answered_and_leaves_nothing(place: Place) -> None:
    async with served(place) as (log, asker):
        refusal = (await asker.ask(asked(Count(-1)))).refusal
        assert refusal is not None
        assert ("invalid", "n", "n: it is negative.") == (
            refusal.type,
            refusal.field,
            refusal.detail,
        )
        assert 0 == await log.end(0)


async def test_a_command_given_twice_counts_once_and_gets_the_first_answer(place: Place) -> None:
    async with served(place) as (log, asker):
        command = asked(Count(2))
        first = await asker.ask(command)
        await asker.ask(asked(Count(5)))
        again = await asker.ask(command)
        assert first.version == again.version
        assert first.sequence <= again.sequence
        assert 7 == await total(log)


async def test_a_command_without_effect_is_known_again(place: Place) -> None:
    async with served(place) as (log, asker):
        command = asked(Count(0))
        assert (await asker.ask(command)).version == (await asker.ask(command)).version
        assert 1 == await log.end(0)


async def test_commands_given_many_times_in_any_order_count_once(place: Place) -> None:
    commands = [asked(Count(2**n), f"counter/{n % 3}") for n in range(12)]
    given = commands * 4
    random.Random(7).shuffle(given)
    async with served(place) as (log, asker):
        for start in range(0, len(given), 5):
            await log.send(given[start : start + 5])
        for command in commands:
            await asker.ask(command)
        assert 12 == await log.end(0)
        streams = (await folded(log)).streams.values()
        assert 2**12 - 1 == sum(stream.state.total for stream in streams)


async def test_the_same_command_again_after_a_takeover_counts_once(place: Place) -> None:
    command = asked(Count(2))
    async with place.open(1) as log, asking(log) as asker:
        async with running(log, "a"):
            first = await asker.ask(command)
        async with running(log, "b"):
            assert first.version == (await asker.ask(command)).version
        assert 2 == await total(log)


async def test_a_lost_reply_is_asked_for_again(place: Place) -> None:
    command = asked(Count(2))
    async with served(place) as (log, asker):
        await log.send([command])  # nobody hears the answer
        assert 1 == (await asker.ask(command)).version
        assert 2 == await total(log)


async def test_what_was_decided_and_not_committed_is_forgotten(place: Place) -> None:
    async with place.open(1) as log, running(log) as engine, asking(log) as asker:
        await asker.ask(asked(Count(1)))
        command = asked(Count(2))
        await place.fence(0)
        assert (await asker.ask(command)).refusal is None  # fenced, taken again, asked again
        assert 3 == await total(log)
        assert (await folded(log)).streams == engine.partitions[0].streams


async def test_one_command_id_on_two_streams_makes_events_of_different_ids(place: Place) -> None:
    id = uuid4()
    async with served(place) as (log, asker):
        await asker.ask(asked(Count(), "counter/1", id=id))
        await asker.ask(asked(Count(), "counter/2", id=id))
        assert 2 == len({event.id for event in await events_of(log)})


async def test_a_command_decided_later_than_its_asker_waits_is_refused(place: Place) -> None:
    late = asked(Count(1), patience=0.001)
    patient = asked(Count(2), patience=600)
    async with place.open(1) as log, asking(log) as asker:
        waiting = [asyncio.create_task(asker.ask(command)) for command in (late, patient)]
        while 2 > await log.inbox_end(0):
            await asyncio.sleep(0.01)
        async with running(log):
            answers = [await one for one in waiting]
        assert ["too-late", None] == [a.refusal and a.refusal.type for a in answers]
        assert 2 == await total(log)


async def test_commands_that_make_no_sense_become_dead_letters_and_stop_nobody(
    place: Place,
) -> None:
    elsewhere = stream_in(1, 2)
    here = stream_in(0, 2)
    async with place.open(2) as log:
        await place.put_command(0, stream=here, data=b"{not json")
        await place.put_command(0, stream=here, data=b'{"n": "many"}')
        await place.put_command(0, stream=here, data=b'{"m": 1}')
        await place.put_command(0, stream=here, data=b"\xff\x00")
        await place.put_command(0, stream=here, data=b"[" * 100_000)
        await place.put_command(0, stream=here, topic="test.unknown")
        await place.put_command(0, stream=here, schema=2)
        await place.put_command(0, stream=elsewhere)
        async with running(log), asking(log) as asker:
            assert 1 == (await asker.ask(asked(Count(), here))).version
        reasons = [reason for partition, reason in await place.dead_letters() if partition == 0]
        assert 8 == len(reasons)
        for expected, reason in zip(
            (
                "malformed",
                "$.n",
                "unknown field `m`",
                "malformed",
                "",
                "unknown command 'test.unknown'",
                "schema 2 is newer",
                "lives in partition 1",
            ),
            reasons,
            strict=True,
        ):
            assert expected in reason


async def test_who_sends_what_no_engine_knows_hears_so(place: Place) -> None:
    async with place.open(1) as log, place.open(codec=SENDERS_CODEC) as ahead:
        async with running(log), asking(ahead) as asker:
            refusal = (await asker.ask(asked(Unknown()))).refusal
        assert refusal is not None
        assert "unknown command 'test.unknown'" in refusal.detail


async def test_a_stream_of_a_kind_that_nobody_knows_becomes_a_dead_letter(place: Place) -> None:
    async with served(place) as (_, asker):
        refusal = (await asker.ask(asked(Count(), "nothing/1"))).refusal
        assert refusal is not None
        assert "unfit" == refusal.type
        assert 1 == len(await place.dead_letters())


async def test_a_decision_that_raises_becomes_a_dead_letter_and_stops_nobody(
    place: Place,
) -> None:
    async with served(place) as (log, asker):
        answers = await asyncio.gather(
            *(asker.ask(asked(c)) for c in (Count(1), Explode(), Count(2)))
        )
        assert [None, "unfit", None] == [a.refusal and a.refusal.type for a in answers]
        assert 3 == await total(log)
        [(_, reason)] = await place.dead_letters()
        assert "ZeroDivisionError: as asked" in reason


async def test_what_the_log_rejects_becomes_a_dead_letter_and_stops_nobody(
    place: Place,
) -> None:
    commands = [asked(Count(2**n), f"counter/{n}") for n in range(4)]
    commands.insert(2, asked(Bewilder(), "counter/9"))
    async with place.open(1) as log, asking(log) as asker:
        waiting = [asyncio.create_task(asker.ask(command)) for command in commands]
        while len(commands) > await log.inbox_end(0):
            await asyncio.sleep(0.01)
        async with running(log):
            answers = [await one for one in waiting]
        refused = [answer.refusal and answer.refusal.type for answer in answers]
        stored = [event.event for event in await events_of(log)]
        counted = [event for event in stored if isinstance(event, Counted)]
        assert [1, 2, 4, 8] == sorted(event.n for event in counted)
        assert refused in ([None, None, "unfit", None, None], [None] * 5)
        assert len(stored) - len(counted) == refused.count(None) - 4
        assert len(await place.dead_letters()) == refused.count("unfit")


async def test_an_answer_to_nowhere_stops_nobody(place: Place) -> None:
    async with served(place) as (log, asker):
        await log.send([asked(Count(1), reply_to="x" * 256)])
        assert 2 == (await asker.ask(asked(Count(2)))).version


async def test_a_fold_that_raises_quarantines_its_stream_and_no_other(place: Place) -> None:
    async with served(place) as (log, asker):
        await asker.ask(asked(Count(1), "counter/sick"))
        poisoned = await asker.ask(asked(Poison(), "counter/sick"))
        after = await asker.ask(asked(Count(1), "counter/sick"))
        other = await asker.ask(asked(Count(1), "counter/well"))
        assert ["quarantined", "quarantined", None] == [
            answer.refusal and answer.refusal.type for answer in (poisoned, after, other)
        ]
        assert 2 == await log.end(0)  # nothing that cannot be folded is stored
        assert 2 == len(await place.dead_letters())


async def test_a_stored_event_that_makes_the_fold_raise_quarantines_its_stream(
    place: Place,
) -> None:
    async with place.open(1) as log:
        await place.put_event(0, "test.poisoned", 1)
        sick = (await events_of(log))[0].originator_id
        async with running(log), asking(log) as asker:
            answers = [await asker.ask(asked(Count(), stream)) for stream in (sick, "counter/well")]
        assert ["quarantined", None] == [a.refusal and a.refusal.type for a in answers]


@pytest.mark.parametrize(("topic", "form"), [("test.to_come", 1), ("test.counted", 2)])
async def test_an_engine_older_than_the_log_stops_with_a_clear_message(
    place: Place, topic: str, form: int
) -> None:
    async with place.open(1) as log:
        await place.put_event(0, topic, form)
        with pytest.raises(FutureEvent, match="upgrade engines"):
            await asyncio.wait_for(Engine("a", log, DECIDERS, CODEC).run(), 10)


async def test_an_engine_stops_where_the_log_lacks_an_event(place: Place) -> None:
    async with place.open(1) as log:
        async with running(log), asking(log) as asker:
            await asker.ask(asked(Count(events=3)))
        await place.lose_event(0, 2)
        with pytest.raises(Gap):
            await asyncio.wait_for(Engine("a", log, DECIDERS, CODEC).run(), 10)


async def test_a_command_whose_event_would_be_too_large_is_refused_and_stops_nobody(
    place: Place,
) -> None:
    class Blown(Count, frozen=True):
        topic = "test.blown"

    blown = msgspec.structs.replace(
        COUNTERS,
        commands=(Count, Blown),
        decide=lambda state, name, command, now: COUNTERS.decide(
            state, name, Count(padding="x" * (RECORD_LIMIT if type(command) is Blown else 1)), now
        ),
    )
    codec = Codec([blown])
    async with place.open(1, codec=codec) as log:
        engine = Engine("a", log, Deciders([blown]), codec)
        task = asyncio.create_task(engine.run())
        async with asking(log) as asker:
            answers = await asyncio.gather(
                *(asker.ask(asked(c)) for c in (Count(), Blown(), Count()))
            )
        engine.stop()
        await task
        assert [None, "too-large", None] == [a.refusal and a.refusal.type for a in answers]
        assert 2 == await log.end(0)


async def test_events_of_one_batch_say_up_to_where_it_has_decided(place: Place) -> None:
    async with place.open(1) as log:
        commands = [asked(Count(), f"counter/{n}") for n in range(20)]
        await log.send(commands)
        async with running(log), asking(log) as asker:
            await asker.ask(commands[-1])
        uptos = [event.upto for event in await events_of(log)]
        assert [20] * 20 == uptos or [21] * 20 == uptos  # with the command asked for again


async def test_engines_that_come_and_go_keep_state_equal_to_the_log(place: Place) -> None:
    partitions = 4
    async with place.open(partitions) as log, place.open() as others, asking(log) as asker:
        commands = [asked(Count(n), f"counter/{n % 10}") for n in range(1, 201)]

        async def ask_all() -> list[Answer]:
            return [await asker.ask(command) for command in commands]

        async with running(log, "a") as a:
            asking_all = asyncio.create_task(ask_all())
            async with running(others, "b") as b:
                await _serves(b, 2)
                async with running(log, "c") as c:
                    await _serves(c, 1)
            await _serves(a, partitions)
            assert all(answer.refusal is None for answer in await asking_all)
            for number, partition in a.partitions.items():
                fold = await folded(log, number, partitions)
                assert fold.streams == partition.streams
        counted = [await folded(log, number, partitions) for number in range(partitions)]
        totals = [stream.state for fold in counted for stream in fold.streams.values()]
        assert all(isinstance(state, Counter) for state in totals)
        assert sum(range(1, 201)) == sum(state.total for state in totals)


async def _serves(engine: Engine, count: int) -> None:
    async with asyncio.timeout(20):
        while len(engine.partitions) != count:
            await asyncio.sleep(0.02)
