"""The rows of workers: the same fold as the aggregate's, whoever folds them and however often."""

from datetime import timedelta

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.envelope import Recorded
from domain.errors import Refused
from domain.event import Command
from domain.stream import VersionGap
from domain.worker import commands as c
from domain.worker import events as e
from domain.worker.automata import WorkerState
from domain.worker.state import Worker as Aggregate
from projections.replay import WorkerReplay
from projections.workers import Worker, Workers, concerns
from tests.unit.given import NOON, Given, opening
from tests.unit.test_workers import ANYTHING, register, worker

SECOND = timedelta(seconds=1)


def folded(events: list[Recorded], *, forgetful: bool = False) -> dict[str, Worker]:
    """The rows after the events; a forgetful fold is another process each time."""
    written: dict[str, Worker] = {}
    workers = Workers(3)
    for recorded in events:
        if forgetful:
            workers = Workers(3)
        known = workers.unknown([recorded]) & written.keys()
        workers.load([replace(written[name]) for name in known])
        workers.fold(recorded)
        written |= {row.worker: replace(row) for row in workers.changes()}
    return written


def row_of(given: Given) -> Worker:
    return folded(given.history)["arm-7"]


def test_a_row_tells_who_registered_and_since_when_it_is_what_it_is() -> None:
    given = worker(register())
    assert row_of(given) == Worker(
        worker="arm-7",
        partition=3,
        state=WorkerState.AVAILABLE,
        session="s1",
        home="rack-2",
        capabilities={"arch": ("arm64",), "memory": ("8g", "16g")},
        slots=4,
        registered_at=NOON,
        since=NOON,
        version=1,
        sequence=1,
    )
    drained = row_of(given.after(SECOND, c.Drain("new disks")))
    assert ("draining", "new disks") == (drained.state, drained.reason)
    assert (NOON, NOON + SECOND) == (drained.registered_at, drained.since)


def test_a_take_over_is_a_new_registration_in_the_same_state() -> None:
    row = row_of(worker(register()).after(SECOND, c.Drain("new disks"), SECOND, register("s2")))
    assert ("draining", "new disks", "s2") == (row.state, row.reason, row.session)
    assert (NOON + 2 * SECOND, NOON + SECOND) == (row.registered_at, row.since)


def test_a_worker_that_is_gone_keeps_its_last_session_and_tells_why() -> None:
    row = row_of(worker(register()).after(SECOND, c.Miss("s1", "not heard of for 30 s")))
    assert ("gone", "s1", "not heard of for 30 s") == (row.state, row.session, row.reason)
    assert NOON + SECOND == row.since


def test_one_that_comes_back_begins_anew() -> None:
    gone = worker(register(), c.Leave("s1"))
    row = row_of(gone.after(SECOND, register("s9", "rack-3")))
    assert ("available", "", "s9", "rack-3") == (row.state, row.reason, row.session, row.home)
    assert (NOON + SECOND, NOON + SECOND) == (row.registered_at, row.since)


@hypothesis.given(st.lists(st.sampled_from(ANYTHING), max_size=20))
def test_the_row_is_what_the_aggregate_is_whoever_folds_it(walk: list[Command]) -> None:
    given = worker()
    for command in walk:
        submitted = given.submit(command)
        try:
            given.record(given.decide(submitted), submitted)
        except Refused:
            continue
    rows = folded(given.history)
    assert rows == folded(given.history, forgetful=True)
    known: Aggregate = given.stream.state
    for row in rows.values():
        assert (known.state, known.home, known.reason) == (row.state, row.home, row.reason)
        assert known.session == ("" if row.state is WorkerState.GONE else row.session)
        assert (known.capabilities, known.slots) == (row.capabilities, row.slots)
        assert given.stream.version == row.version
    assert (known.state is WorkerState.ABSENT) == (rows == {})


def test_an_event_that_is_not_the_next_one_is_a_gap() -> None:
    first, second = worker(register(), c.Drain()).history
    with pytest.raises(VersionGap):
        folded([second])
    with pytest.raises(VersionGap):
        folded([first, replace(second, originator_version=3)])


def test_a_worker_that_cannot_be_folded_on_says_why_and_stays_as_it_was() -> None:
    first, second = worker(register(), c.Drain()).history
    workers = Workers(3)
    workers.fold(first)
    with pytest.raises(KeyError):
        workers.fold(replace(second, event=e.WorkerResumed()))
    workers.quarantine("arm-7", "it cannot be")
    workers.fold(replace(second, originator_version=7))
    [row] = workers.changes()
    assert ("available", 1, "it cannot be") == (row.state, row.version, row.problem)


def test_events_of_tickets_are_no_affair_of_workers() -> None:
    assert [False] * 2 == [concerns(event) for event in Given(opening("A")).history]
    assert [True] == [concerns(event) for event in worker(register()).history]


def test_a_replay_says_what_each_event_changed_also_after_it_was_gone() -> None:
    given = worker(register(), c.Drain("new disks"), c.Leave("s1"), register("s2"))
    replay = WorkerReplay(3)
    steps = [replay.fold(event) for event in given.history]
    states = [change.after for step in steps for change in step.changes if change.column == "state"]
    assert ["available", "draining", "gone", "available"] == states
    assert "registered by session s2" == steps[-1].event.what
    assert replay.rows == {"worker": msgspec.to_builtins(replay.view)}
