"""One partition, without a log: batches, duplicates and crashes in any order."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from adapters.log import Encoded, Received
from domain.envelope import Submitted
from tests.contract.counter import CODEC, DECIDERS, Count, Explode, asked
from workers.partition import LENGTH, Partition

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def fresh() -> Partition:
    return Partition(0, 1, DECIDERS, CODEC)


def received(commands: list[Submitted], after: int = 0) -> list[Received]:
    return [
        Received(position=position, at=NOW, submitted=command)
        for position, command in enumerate(commands, start=after + 1)
    ]


def refolded(events: list[Encoded]) -> Partition:
    partition = fresh()
    for one in events:
        partition.fold(one.recorded)
    return partition


@given(
    given=st.lists(st.integers(0, 9), max_size=40),
    cuts=st.lists(st.integers(1, 6), max_size=40),
    crashes=st.sets(st.integers(0, 40)),
    lost=st.sets(st.integers(0, 40)),
)
def test_whatever_is_repeated_cut_lost_or_crashes_each_command_counts_once(
    given: list[int], cuts: list[int], crashes: set[int], lost: set[int]
) -> None:
    """A crash is a refold of what was committed; a lost batch was decided and not committed."""
    commands = [asked(Count(2**n), f"counter/{n % 3}", id=UUID(int=n + 1)) for n in range(10)]
    partition, log, position, answers = fresh(), list[Encoded](), 0, dict[UUID, int]()
    waiting = [commands[n] for n in given]
    for number, size in enumerate([*cuts, *([len(waiting)] if waiting else [])]):
        batch = received(waiting[:size], position)
        if not batch:
            break
        decided = partition.decide(batch, NOW)
        if number in lost:
            partition = refolded(log)
            continue
        log += decided.events
        position, waiting = decided.upto, waiting[size:]
        if number in crashes:
            partition = refolded(log)
    for one in log:
        answers.setdefault(one.recorded.causationid, one.recorded.originator_version)
    assert partition.streams == refolded(log).streams
    assert list(range(1, len(log) + 1)) == [one.recorded.sequence for one in log]
    done = [n for n in set(given) if UUID(int=n + 1) in answers]
    totals = sum(stream.state.total for stream in partition.streams.values())
    assert sum(2**n for n in done) == totals
    if not waiting:
        assert set(given) == set(done)


def test_time_never_goes_back() -> None:
    partition = fresh()
    first = partition.decide(received([asked(Count())]), NOW).events
    early = partition.decide(received([asked(Count())], 1), NOW - timedelta(hours=1)).events
    late = partition.decide(received([asked(Count())], 2), NOW + timedelta(hours=1)).events
    times = [one.recorded.time for one in (*first, *early, *late)]
    assert [NOW, NOW, NOW + timedelta(hours=1)] == times
    assert NOW + timedelta(hours=1) == refolded([*first, *early, *late]).stamp


def test_a_reason_is_short_and_can_be_stored_by_any_log() -> None:
    partition = fresh()
    odd = Received(position=1, at=NOW, submitted=None, problem="\0 \ud800 " + "x" * 5_000)
    [letter] = partition.decide([odd, *received([asked(Explode())], 1)], NOW).dead[:1]
    assert letter.reason.startswith("\\0 \\ud800 x")
    assert len(letter.reason) <= LENGTH + 20


def test_a_refused_command_leaves_no_stream_behind() -> None:
    partition = fresh()
    partition.decide(received([asked(Count(-1)), asked(Explode())]), NOW)
    assert {} == partition.streams


def test_answers_go_to_who_asked_and_nobody_else() -> None:
    partition = fresh()
    commands = [asked(Count(), reply_to="me"), asked(Count()), asked(Count(-1), reply_to="you")]
    replies = partition.decide(received(commands), NOW).replies
    assert [("me", None), ("you", "invalid")] == [
        (reply.address, reply.answer.refusal and reply.answer.refusal.type) for reply in replies
    ]
