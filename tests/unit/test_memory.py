"""Whatever leaves memory and comes back, is written down and read again: nobody can tell."""

import asyncio
from collections.abc import Callable
from random import Random

import hypothesis
import pytest
import structlog.testing
from hypothesis import strategies as st

from adapters.log import Received, WrongLog
from domain.ticket import commands as c
from domain.ticket.automata import OPEN
from tests.contract.counter import CODEC as COUNTERS_CODEC
from tests.contract.counter import DECIDERS as COUNTERS
from tests.contract.counter import Count, Poison, Poisoned, asked
from tests.unit.forgetting import GENESIS, Beside, Forgetful, fresh, lives
from tests.unit.given import Given, opening
from workers import archived, snapshot_form
from workers.archived import Archived
from workers.hashes import Hashes
from workers.partition import Partition
from workers.recovery import Recovery
from workers.snapshot_form import Form
from workers.snapshotting import Snapshotting

seeds = hypothesis.given(st.integers(0, 2**32))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step writes one stream, so that much happens between the first step and the last."""
    monkeypatch.setattr(snapshot_form, "STREAMS", 1)
    monkeypatch.setattr(snapshot_form, "SIZE", 4_096)


async def play(seed: int, every: int, crashes: float) -> tuple[Partition, Forgetful, list[int]]:
    """Ask the same of a partition that keeps everything and of one that forgets and crashes."""
    chance = Random(seed)
    whole, forgetful = fresh(), Forgetful(Beside(chance), every)
    beside = forgetful.beside
    await forgetful.crash()
    waiting, position, begun = lives(chance, chance.randint(1, 5)), 0, list[int]()
    while waiting:
        size = chance.randint(1, 6)
        some, waiting = waiting[:size], waiting[size:]
        now = some[-1][1]
        batch = [
            Received(position=position + n, at=now, submitted=submitted)
            for n, (submitted, _) in enumerate(some, start=1)
        ]
        position += size
        assert whole.decide(batch, now) == await forgetful.decide(batch, now)
        beside.archived = chance.randint(beside.archived, len(beside.events))
        await forgetful.rest()
        assert whole.digest() == forgetful.partition.digest()
        if chance.random() < crashes:
            await forgetful.crash()
            begun.append(forgetful.recovered_from)
            assert whole.digest() == forgetful.partition.digest()
            assert whole.sequence == forgetful.partition.sequence
            assert whole.upto >= forgetful.partition.upto
            forgetful.partition.stamp = whole.stamp  # the clock of a batch without events
            forgetful.partition.upto = whole.upto  # of such a batch the owner knows
    return whole, forgetful, begun


@seeds
def test_decisions_are_those_of_a_partition_that_keeps_everything(seed: int) -> None:
    asyncio.run(play(seed, every=0, crashes=0.0))


@seeds
def test_they_are_also_after_a_takeover_from_the_log(seed: int) -> None:
    asyncio.run(play(seed, every=0, crashes=0.1))


@seeds
def test_they_are_also_after_a_takeover_from_a_snapshot(seed: int) -> None:
    asyncio.run(play(seed, every=5, crashes=0.1))


def test_that_snapshots_were_used_and_streams_had_left() -> None:
    """Else the three tests above would say little."""
    used, left = list[int](), list[int]()
    for seed in range(30):
        _, forgetful, begun = asyncio.run(play(seed, every=5, crashes=0.1))
        used += [one for one in begun if one]
        left.append(len(forgetful.partition.memory.closed.hashes))
    assert 30 < len(used)
    assert 30 < sum(left)


@seeds
def test_open_streams_stay_and_closed_ones_leave_once_the_archive_has_them(seed: int) -> None:
    async def play_to_the_end() -> None:
        whole, forgetful, _ = await play(seed, every=0, crashes=0.0)
        forgetful.beside.archived = whole.sequence
        await forgetful.rest()
        is_open = {id_ for id_, stream in whole.streams.items() if stream.state.state in OPEN}
        assert is_open == set(forgetful.partition.streams)
        assert len(whole.streams) - len(is_open) <= len(forgetful.partition.memory.closed.hashes)

    asyncio.run(play_to_the_end())


def test_without_an_archive_nothing_leaves() -> None:
    async def play_without() -> None:
        whole, forgetful, _ = await play(3, every=0, crashes=0.0)
        forgetful.beside.archived = 0
        await forgetful.crash()
        await forgetful.rest()
        assert whole.streams == forgetful.partition.streams
        assert 0 == len(forgetful.partition.memory.closed.hashes)

    asyncio.run(play_without())


def test_an_id_that_is_mistaken_for_one_that_left_costs_a_look_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Hashes, "__contains__", lambda *_: True)
    asyncio.run(play(5, every=5, crashes=0.1))


def test_an_archive_that_has_fallen_behind_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was restored from a backup, and is folded on."""
    monkeypatch.setattr(archived, "LOOK", 0.0)

    class Behind(Beside):
        looks = 0

        async def position(self, partition: int) -> int:
            self.looks += 1
            return self.archived - max(0, 3 - self.looks)

    async def wait() -> None:
        beside = Behind(Random(1))
        forgetful = Forgetful(beside, every=0)
        await forgetful.crash()
        ticket = Given()
        now, commands = ticket.now, [ticket.submit(opening("A")), ticket.submit(c.Cancel())]
        await forgetful.decide([Received(n, now, one) for n, one in enumerate(commands, 1)], now)
        whole = dict(forgetful.partition.streams)
        beside.archived, beside.looks = len(beside.events), 3
        await forgetful.rest()
        assert {} == forgetful.partition.streams
        beside.looks = 0
        with structlog.testing.capture_logs() as said:
            await forgetful.archived.bring_back(forgetful.partition, ["ticket/9"])
        assert whole == forgetful.partition.streams
        [line] = [line for line in said if line["event"] == "archive_behind"]
        assert (beside.archived - 2, beside.archived) == (line["position"], line["needed"])
        assert 3 == beside.looks

    asyncio.run(wait())


def test_a_quarantined_stream_is_folded_again_from_a_snapshot_as_from_the_log() -> None:
    """A newer fold may be able to: what a snapshot says of it is no more than its name."""

    def partition() -> Partition:
        return Partition(0, 1, COUNTERS, COUNTERS_CODEC)

    async def take_over() -> None:
        form, beside = Form(COUNTERS), Beside(Random(1))
        commands = [asked(Count(n), f"counter/{n}") for n in range(3)]
        poison = asked(Poison(), "counter/1")
        now, source = Given().now, partition()
        batch = [Received(n, now, one) for n, one in enumerate(commands, 1)]
        source_events = [one.recorded for one in source.decide(batch, now).events]
        sick = source.streams["counter/1"].record(
            (Poisoned(),), poison, now, sequence=source.sequence
        )
        beside.events = [*source_events, *sick]
        partition_ = await recovered(beside, partition, form)
        snapshotting = Snapshotting(beside, 1, form.digest, GENESIS, partition_, 0)
        beside.archived = len(beside.events)
        while not any(end for _, end, _ in beside.snapshots.values()):
            snapshotting.step()
            await asyncio.sleep(0)
        [(_, end, _)] = beside.snapshots.values()
        again = await recovered(beside, partition, form)
        assert end is not None
        assert ["counter/1"] == list(end.quarantined)
        assert partition_.quarantined == again.quarantined
        assert partition_.streams == again.streams
        assert 1 == len(again.quarantined)

    with structlog.testing.capture_logs():
        asyncio.run(take_over())


async def recovered(beside: Beside, empty: Callable[[], Partition], form: Form) -> Partition:
    archive = Archived(beside, 0, lambda: None)
    return await Recovery(beside, empty, form, archive, lambda: None).run(beside)  # type: ignore[arg-type]


def test_an_archive_ahead_of_the_log_is_refused() -> None:
    async def restored() -> None:
        _, forgetful, _ = await play(3, every=0, crashes=0.0)
        forgetful.beside.archived = len(forgetful.beside.events)
        del forgetful.beside.events[-1]
        with pytest.raises(WrongLog, match="turnstile rebuild history"):
            await forgetful.crash()

    asyncio.run(restored())
