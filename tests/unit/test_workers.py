"""Workers: a name that one runner has, until it leaves or is not heard of any more."""

from itertools import product

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from domain.envelope import Submitted
from domain.errors import NameTaken, Refused, SupersededSession, UnknownWorker, WorkerIsGone
from domain.event import Command, CommandNoted, Event
from domain.stream import Stream
from domain.worker import WORKERS, events
from domain.worker import commands as c
from domain.worker import events as e
from domain.worker.automata import ONLINE, WORKER, WorkerState
from domain.worker.events import EVENTS
from domain.worker.state import REMEMBERED, Worker
from tests.unit.given import Given

W = WorkerState
ARM = {"arch": ("arm64",), "memory": ("8g", "16g")}


def worker(*commands: Command) -> Given:
    """A worker to which all this has happened."""
    return Given(*commands, stream="worker/arm-7")


def state_of(given: Given) -> Worker:
    state: Worker = given.stream.state
    return state


def register(session: str = "s1", home: str = "rack-2") -> c.Register:
    return c.Register(session=session, home=home, capabilities=ARM, slots=4)


REGISTERED = e.WorkerRegistered(session="s1", home="rack-2", capabilities=ARM, slots=4)
TAKEN_OVER = e.WorkerRegistered(session="s2", home="rack-2", capabilities=ARM, slots=4)


# --------------------------------------------------------------------------------- registration


def test_a_worker_registers_with_what_it_can_do() -> None:
    known = state_of(worker().when(register()).then(REGISTERED))
    assert (W.AVAILABLE, "s1", "rack-2") == (known.state, known.session, known.home)
    assert (ARM, 4) == (known.capabilities, known.slots)


def test_the_same_registration_again_changes_nothing() -> None:
    worker(register()).when(register()).then_nothing()
    worker(register(), c.Drain()).when(register()).then_nothing()


def test_a_session_may_say_anew_what_it_can_do() -> None:
    larger = msgspec.structs.replace(register(), slots=8)
    worker(register()).when(larger).then(msgspec.structs.replace(REGISTERED, slots=8))


def test_another_home_is_refused_the_name_while_the_worker_is_there() -> None:
    other = register("s9", "rack-3")
    for before in ((register(),), (register(), c.Drain())):
        worker(*before).when(other).refused(NameTaken, match="Take another name", field="worker")


def test_another_home_gets_the_name_when_the_worker_is_gone() -> None:
    other = e.WorkerRegistered(session="s9", home="rack-3", capabilities=ARM, slots=4)
    for end in (c.Leave("s1"), c.Miss("s1")):
        worker(register(), end).when(register("s9", "rack-3")).then(other)


def test_a_new_session_of_the_same_home_takes_over() -> None:
    known = state_of(worker(register()).when(register("s2")).then(TAKEN_OVER))
    assert (W.AVAILABLE, "s2") == (known.state, known.session)


def test_one_that_drains_does_so_after_a_take_over_too() -> None:
    known = worker(register(), c.Drain()).when(register("s2")).then(TAKEN_OVER)
    assert W.DRAINING is state_of(known).state


def test_a_session_that_was_superseded_does_not_take_the_name_back() -> None:
    taken = worker(register(), register("s2"))
    taken.when(register()).refused(SupersededSession, match="is to end", field="session")
    taken.after(register("s3")).when(register("s2")).refused(SupersededSession)


def test_when_the_worker_is_gone_anybody_may_register() -> None:
    gone = worker(register(), register("s2"), c.Drain(), c.Leave("s2"))
    known = gone.when(register()).then(REGISTERED)
    assert W.AVAILABLE is state_of(known).state


def test_what_is_remembered_of_sessions_does_not_grow_for_ever() -> None:
    known = worker(*(register(f"s{n}") for n in range(REMEMBERED + 20)))
    assert REMEMBERED == len(state_of(known).superseded)
    last = REMEMBERED + 18
    known.when(register(f"s{last}")).refused(SupersededSession)


# ------------------------------------------------------------------------------ draining, ending


def test_a_worker_is_drained_and_resumed() -> None:
    drained = worker(register()).when(c.Drain("new disks")).then(e.WorkerDraining("new disks"))
    assert (W.DRAINING, "new disks") == (state_of(drained).state, state_of(drained).reason)
    resumed = drained.when(c.Resume("done")).then(e.WorkerResumed("done"))
    assert (W.AVAILABLE, "done") == (state_of(resumed).state, state_of(resumed).reason)


def test_to_drain_what_drains_and_to_resume_what_is_available_changes_nothing() -> None:
    worker(register(), c.Drain()).when(c.Drain("again")).then_nothing()
    worker(register()).when(c.Resume()).then_nothing()


def test_the_session_at_work_ends_the_worker_by_leaving() -> None:
    for before in ((register(),), (register(), c.Drain())):
        gone = worker(*before).when(c.Leave("s1")).then(e.WorkerGone("s1", "it left"))
        assert W.GONE is state_of(gone).state


def test_a_session_that_was_not_heard_of_is_gone() -> None:
    missed = c.Miss("s1", "not heard of for 30 s")
    worker(register()).when(missed).then(e.WorkerGone("s1", "not heard of for 30 s"))


def test_the_end_of_an_old_session_is_no_news() -> None:
    for end in (c.Leave("s1"), c.Miss("s1")):
        taken = worker(register(), register("s2")).when(end).then_nothing()
        assert "s2" == state_of(taken).session
        worker(register(), c.Leave("s1")).when(end).then_nothing()


def test_nobody_knows_a_worker_that_never_registered() -> None:
    for command in (c.Drain(), c.Resume(), c.Leave("s1"), c.Miss("s1")):
        worker().when(command).refused(UnknownWorker, match="'arm-7'")


def test_one_that_is_gone_can_not_be_steered() -> None:
    gone = worker(register(), c.Leave("s1"))
    for command in (c.Drain(), c.Resume()):
        gone.when(command).refused(WorkerIsGone, match="it left")


def test_a_stream_may_leave_memory_when_the_worker_is_gone_and_not_before() -> None:
    assert not WORKERS.closed(state_of(worker()))
    assert not WORKERS.closed(state_of(worker(register())))
    assert not WORKERS.closed(state_of(worker(register(), c.Drain())))
    assert WORKERS.closed(state_of(worker(register(), c.Leave("s1"))))


# ---------------------------------------------------------------------------------- the automaton


def test_every_event_of_a_worker_is_in_the_table_and_nothing_else_is() -> None:
    declared = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    }
    assert declared == set(EVENTS)
    assert declared == WORKER.events


def test_whatever_the_state_a_registration_leads_to_a_worker_that_is_there() -> None:
    assert set(ONLINE) == {WORKER.successor(state, e.WorkerRegistered) for state in W}
    assert set(W) == {W.ABSENT, W.GONE, *ONLINE}


# ---------------------------------------------------------------------------------- random walks

SESSIONS = ("s1", "s2", "s3")
ANYTHING: tuple[Command, ...] = (
    *(register(session, home) for session, home in product(SESSIONS, ("rack-2", "rack-3"))),
    *(c.Leave(session) for session in SESSIONS),
    *(c.Miss(session) for session in SESSIONS),
    *(c.Drain(), c.Resume("again")),
)

any_walk = hypothesis.given(st.lists(st.sampled_from(ANYTHING), max_size=25))


def decided(given: Given, submitted: Submitted) -> tuple[tuple[Event, ...], Refused | None]:
    try:
        return given.decide(submitted), None
    except Refused as refused:
        return refused.leaves, refused


@any_walk
def test_what_is_decided_is_permitted_and_at_once_again_nothing_is_left(
    walk: list[Command],
) -> None:
    given = worker()
    for command in walk:
        submitted = given.submit(command)
        found, refused = decided(given, submitted)
        for event in found:
            assert isinstance(event, CommandNoted) or WORKER.permits(
                state_of(given).state, type(event)
            )
        given.record(found, submitted)
        again, refused_again = decided(given, given.submit(command))
        assert type(refused) is type(refused_again)
        assert [] == [event for event in again if not isinstance(event, CommandNoted)]


@any_walk
def test_there_is_one_session_at_work_or_none(walk: list[Command]) -> None:
    given = worker()
    for command in walk:
        submitted = given.submit(command)
        given.record(decided(given, submitted)[0], submitted)
        known = state_of(given)
        assert known.is_online == bool(known.session)
        assert known.session not in known.superseded


@any_walk
def test_the_state_comes_back_from_its_serialised_form(walk: list[Command]) -> None:
    given = worker()
    for command in walk:
        submitted = given.submit(command)
        given.record(decided(given, submitted)[0], submitted)
    stored = msgspec.msgpack.encode(state_of(given))
    assert state_of(given) == msgspec.msgpack.decode(stored, type=Worker)
    folded = Stream(id=given.stream.id, state=Worker())
    for fact in given.history:
        folded.fold(WORKERS, fact)
    assert given.stream == folded


@pytest.mark.parametrize("state", list(W))
def test_every_state_of_a_worker_is_reached_by_some_walk(state: WorkerState) -> None:
    reached = {
        W.ABSENT: (),
        W.AVAILABLE: (register(),),
        W.DRAINING: (register(), c.Drain()),
        W.GONE: (register(), c.Leave("s1")),
    }
    assert state is state_of(worker(*reached[state])).state
