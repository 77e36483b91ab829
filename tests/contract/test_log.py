"""What every log promises its engines, senders and readers (the port is `adapters/log.py`)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from adapters.codec import RECORD_LIMIT, FutureEvent
from adapters.log import ClockAhead, Decided, Fenced, Gap, Log, Owner, Unavailable, WrongLog
from domain.envelope import Recorded, Submitted
from domain.errors import Invalid, TooLarge
from tests.contract.counter import Count, asked, batch, stream_in
from tests.contract.places import Place, taken
from tests.contract.sharing import Sharing

pytestmark = pytest.mark.service

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


async def first(follow: AsyncIterator[Sequence[Recorded]], count: int) -> list[Recorded]:
    """The next *count* events that a reader sees."""
    seen: list[Recorded] = []
    async with asyncio.timeout(10), aclosing(follow) as pages:  # type: ignore[type-var]
        async for page in pages:
            seen += page
            if len(seen) >= count:
                break
    return seen


async def sequences(log: Log, partition: int = 0) -> list[int]:
    end = await log.end(partition)
    return [event.sequence for event in await first(log.follow(partition), end)] if end else []


async def recovered(owner: Owner, upto: int = 0) -> list[int]:
    """Go through a takeover; the sequences that the log has."""
    found = [event.sequence async for page in owner.history() for event in page]
    await owner.resume(upto)
    return found


async def test_what_is_sent_is_received_in_order_with_the_logs_time(place: Place) -> None:
    async with place.open(2) as log, log.join("a") as member:
        stream = stream_in(1, 2)
        commands = [asked(Count(n), stream, patience=5, reply_to="x") for n in range(1, 6)]
        await log.send(commands[:2])
        await log.send(commands[2:])
        owner = await taken(member, 1)
        await recovered(owner)
        received = await owner.receive(10, 1)
        assert commands == [one.submitted for one in received]
        assert sorted({one.position for one in received}) == [one.position for one in received]
        assert all(abs(one.at - datetime.now(UTC)) < timedelta(minutes=1) for one in received)
        assert 0 == await log.inbox_end(0)
        assert received[-1].position == await log.inbox_end(1)
        await owner.release()


async def test_an_owner_receives_nothing_when_nothing_came(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        assert [] == list(await owner.receive(10, 0.05))
        await owner.release()


async def test_a_waiting_owner_is_woken_by_a_command(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        waiting = asyncio.create_task(owner.receive(10, 30))
        await log.send([asked(Count())])
        assert 1 == len(await asyncio.wait_for(waiting, 5))
        await owner.release()


async def test_a_commit_makes_events_and_position_true_together(place: Place) -> None:
    command = asked(Count())
    async with place.open(1) as log:
        async with log.join("a") as member:
            await log.send([command, asked(Count())])
            owner = await taken(member, 0)
            await recovered(owner)
            position = (await owner.receive(1, 1))[0].position
            decided = batch(command, NOW, version=1, sequence=1, upto=position, count=3)
            await owner.commit(decided)
            await owner.release()
        assert [one.recorded for one in decided.events] == await first(log.follow(0), 3)
        async with log.join("b") as member:
            successor = await taken(member, 0)
            assert [1, 2, 3] == await recovered(successor)
            assert [position + 1] == [one.position for one in await successor.receive(9, 1)]
            await successor.release()


async def test_a_fenced_owner_can_write_nothing(place: Place) -> None:
    command = asked(Count())
    async with place.open(1) as log, log.join("a") as member, log.join("b") as other:
        owner = await taken(member, 0)
        await recovered(owner)
        successor = await taken(other, 0)
        await recovered(successor)
        with pytest.raises(Fenced):
            await owner.commit(batch(command, NOW, version=1, sequence=1, upto=1))
        with pytest.raises(Fenced):
            await owner.commit(Decided(upto=1))
        await successor.commit(batch(command, NOW, version=1, sequence=1, upto=1))
        with pytest.raises(Fenced):
            await owner.commit(batch(command, NOW, version=1, sequence=1, upto=1))
        assert [1] == await sequences(log)
        await owner.release()
        await successor.commit(batch(asked(Count()), NOW, version=2, sequence=2, upto=2))
        assert [1, 2] == await sequences(log)
        await successor.release()


async def test_an_owner_paused_before_its_commit_writes_nothing_after_a_takeover(
    place: Place,
) -> None:
    async with place.open(1) as log, log.join("a") as member, log.join("b") as other:
        owner = await taken(member, 0)
        await recovered(owner)
        async with place.stalled_before_commit():
            paused = asyncio.create_task(
                owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=7, count=2))
            )
            successor = await taken(other, 0)
            assert [] == await recovered(successor)
        with pytest.raises((Fenced, Unavailable)):
            await paused
        await successor.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
        assert [1] == await sequences(log)
        await owner.release()
        await successor.release()


async def test_an_owner_paused_inside_its_commit_is_ended_or_seen_by_its_successor(
    place: Place,
) -> None:
    """Whatever became of it: what the successor read is what the log has for ever."""
    async with place.open(1) as log, log.join("a") as member, log.join("b") as other:
        owner = await taken(member, 0)
        await recovered(owner)
        async with place.stalled_inside_commit(0, 2):
            paused = asyncio.create_task(
                owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=7, count=2))
            )
            successor = await taken(other, 0)
            read = [event.sequence async for page in successor.history() for event in page]
            resumed = await successor.resume(0)
        outcome = (await asyncio.gather(paused, return_exceptions=True))[0]
        assert read == await sequences(log)
        assert ([1, 2], 7, None) == (read, resumed, outcome) or (
            ([], 0) == (read, resumed) and isinstance(outcome, Fenced | Unavailable)
        )
        await owner.release()
        await successor.release()


async def test_a_position_committed_while_another_waits_to_take_over_counts(place: Place) -> None:
    """The resume position is read behind the fence, never before it."""
    async with place.open(1) as log, log.join("a") as member, log.join("b") as other:
        await log.send([asked(Count(0)) for _ in range(3)])
        owner = await taken(member, 0)
        await recovered(owner)
        last = (await owner.receive(9, 1))[-1].position
        while 0 not in await other.granted():  # the lease of the first runs out
            pass
        successor = await place.commit_before_take(
            lambda: owner.commit(Decided(upto=last)), lambda: other.take(0)
        )
        assert [] == [event async for page in successor.history() for event in page]
        assert last == await successor.resume(0)
        assert [] == list(await successor.receive(9, 0.05))
        await owner.release()
        await successor.release()


async def test_a_takeover_resumes_behind_the_last_decided_batch(place: Place) -> None:
    async with place.open(1) as log:
        commands = [asked(Count()) for _ in range(4)]
        await log.send(commands)
        async with log.join("a") as member:
            owner = await taken(member, 0)
            await recovered(owner)
            one, two, three, four = [each.position for each in await owner.receive(9, 1)]
            await owner.commit(batch(commands[0], NOW, version=1, sequence=1, upto=one))
            await owner.commit(Decided(upto=two))
            await owner.commit(batch(commands[2], NOW, version=2, sequence=2, upto=three))
            await owner.release()
        async with log.join("b") as member:
            successor = await taken(member, 0)
            upto = [event.upto async for page in successor.history() for event in page]
            assert [one, three] == upto
            assert three == await successor.resume(max(upto))
            assert [four] == [each.position for each in await successor.receive(9, 1)]
            await successor.commit(Decided(upto=four))
            await successor.release()
        async with log.join("c") as member:
            last = await taken(member, 0)
            await recovered(last, three)
            assert [] == list(await last.receive(9, 0.05))
            await last.release()


async def test_a_partition_is_given_back_at_once(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member, log.join("b") as other:
        owner = await taken(member, 0)
        await owner.release()
        async with asyncio.timeout(5):
            successor = await taken(other, 0)
        await successor.release()


async def test_members_share_the_partitions_evenly_and_anew_when_one_comes_or_goes(
    place: Place,
) -> None:
    async with place.open(8) as log, log.join("a") as a, Sharing(log) as sharing:
        sharing.add("a", a)
        await sharing.settled(8)
        async with log.join("b") as b, log.join("c") as c:
            sharing.add("b", b)
            sharing.add("c", c)
            await sharing.settled(2, 3, 3)
            await sharing.drop("b")
            await sharing.drop("c")
        await sharing.settled(8)


async def test_partitions_move_only_to_those_who_come(place: Place) -> None:
    async with (
        place.open(8) as log,
        log.join("a") as a,
        log.join("b") as b,
        log.join("c") as c,
        Sharing(log) as sharing,
    ):
        sharing.add("a", a)
        sharing.add("b", b)
        await sharing.settled(4, 4)
        before = sharing.shares()
        sharing.add("c", c)
        await sharing.settled(2, 3, 3)
        after = sharing.shares()
        assert all(after[name] < before[name] for name in before)


async def test_owners_do_not_fence_one_another_for_ever(place: Place) -> None:
    async with (
        place.open(4) as log,
        log.join("a") as a,
        log.join("b") as b,
        Sharing(log) as sharing,
    ):
        sharing.add("a", a)
        await sharing.settled(4)
        sharing.pause("a")  # beyond its lease
        sharing.add("b", b)
        await sharing.settled_on("b", 4)
        sharing.resume("a")
        await sharing.settled(2, 2)
        await sharing.looks(10)
        takes = sharing.takes
        await sharing.looks(20)
        assert takes == sharing.takes
        await sharing.settled(2, 2)


async def test_an_engine_whose_clock_is_ahead_of_the_logs_takes_no_partition(
    place: Place,
) -> None:
    async with place.open(1, clock_ahead=timedelta(seconds=5)) as log, log.join("a") as member:
        with pytest.raises(ClockAhead, match="ahead"):
            await taken(member, 0)
    async with place.open(1) as log, log.join("b") as member:
        async with asyncio.timeout(5):
            owner = await taken(member, 0)
        await owner.release()


async def test_a_reader_sees_nothing_that_is_not_committed(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
        async with place.stalled_inside_commit(0, 3):
            commit = asyncio.create_task(
                owner.commit(batch(asked(Count()), NOW, version=2, sequence=2, upto=2, count=2))
            )
            assert [1] == [event.sequence for event in await first(log.follow(0), 1)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await first(log.follow(0, after=1), 1)
            assert 1 == await log.end(0)
        await commit
        assert [2, 3] == [event.sequence for event in await first(log.follow(0, after=1), 2)]
        await owner.release()


async def test_a_reader_skips_nothing_and_is_woken(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member:
        reading = asyncio.create_task(first(log.follow(0), 10))
        owner = await taken(member, 0)
        await recovered(owner)
        for n in range(1, 11):
            await owner.commit(batch(asked(Count()), NOW, version=n, sequence=n, upto=n))
        assert list(range(1, 11)) == [event.sequence for event in await reading]
        await owner.release()


async def test_a_lost_last_event_is_noticed_in_a_takeover(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1, count=2))
        await owner.release()
        await place.lose_event(0, 2)
        successor = await taken(member, 0)
        with pytest.raises(Gap):
            await recovered(successor)
        await successor.release()


async def test_a_lost_event_is_noticed_by_every_reader(place: Place) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1, count=4))
        await owner.release()
        await place.lose_event(0, 3)
        with pytest.raises(Gap, match="3"):
            await first(log.follow(0), 4)
        with pytest.raises(Gap, match="3"):
            await first(log.follow(0, after=2), 1)
        successor = await taken(member, 0)
        with pytest.raises(Gap, match="3"):
            await recovered(successor)
        await successor.release()


@pytest.mark.parametrize(("topic", "form"), [("test.to_come", 1), ("test.counted", 2)])
async def test_an_event_from_the_future_stops_who_reads_it(
    place: Place, topic: str, form: int
) -> None:
    async with place.open(1) as log, log.join("a") as member:
        await place.put_event(0, topic, form)
        with pytest.raises(FutureEvent, match=topic):
            await first(log.follow(0), 1)
        owner = await taken(member, 0)
        with pytest.raises(FutureEvent, match=topic):
            await recovered(owner)
        await owner.release()


async def test_a_command_over_the_size_limit_is_refused_before_anything_is_sent(
    place: Place,
) -> None:
    large = asked(Count(padding="x" * RECORD_LIMIT))
    async with place.open(1) as log:
        with pytest.raises(TooLarge, match="bytes are more than"):
            await log.send([asked(Count()), large, asked(Count())])
        assert 0 == await log.inbox_end(0)


@pytest.mark.parametrize(
    "command",
    [
        asked(Count(), "counter/"),
        asked(Count(), "counter/" + "x" * 129),
        asked(Count(), "nothing"),
        asked(Count(), "counter/a b"),
        asked(Count(), "counter/\0"),
        asked(Count(), reply_to="\0"),
        asked(Count(), reply_to="x" * 257),
        asked(Count(padding="\ud800")),
    ],
    ids=lambda command: ascii(command.stream)[:20] + ascii(command.command)[:20],
)
async def test_a_command_that_no_log_could_carry_is_refused_before_anything_is_sent(
    place: Place, command: Submitted
) -> None:
    async with place.open(1) as log:
        with pytest.raises(Invalid):
            await log.send([asked(Count()), command])
        assert 0 == await log.inbox_end(0)


async def test_the_number_of_partitions_is_for_ever(place: Place) -> None:
    async with place.open(3) as log:
        genesis = [await log.genesis(partition) for partition in range(3)]
        assert [3, 3, 3] == [one.partitions for one in genesis]
        assert 3 == len({one.id for one in genesis})
    with pytest.raises(WrongLog, match="3 partitions"):
        async with place.open(4):
            pass
    async with place.open() as log:
        assert 3 == log.partitions
        assert genesis == [await log.genesis(partition) for partition in range(3)]


async def test_two_processes_that_make_the_log_at_once_make_one(place: Place) -> None:
    async with asyncio.TaskGroup() as group:
        ids = [group.create_task(_genesis(place)) for _ in range(4)]
    assert 1 == len({task.result() for task in ids})


async def _genesis(place: Place) -> object:
    async with place.open(2) as log:
        return (await log.genesis(0)).id
