"""What holds for any history that commands can reach, and for any command that comes next."""

from collections import Counter
from random import Random

import hypothesis
import msgspec
from hypothesis import strategies as st

from domain.event import CommandNoted, Event
from domain.stream import Stream
from domain.ticket import TICKETS
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import (
    OPEN,
    TASK,
    TASK_ENDED,
    TICKET,
    TaskState,
    TicketState,
)
from domain.ticket.state import Task, Ticket
from tests.unit.given import Given, claim, passed
from tests.unit.walks import WAITS, Walk, decide, play, take, taken, walk_at_random, walks

T, K = TaskState, TicketState

any_walk = hypothesis.given(walks())


def moved(event: Event, ticket: Ticket) -> list[TaskState]:
    """The states of the tasks that the event moves, before it does."""
    match event:
        case e.TicketOpened(tasks=specs) | e.TasksAdded(tasks=specs):
            return [T.ABSENT if spec.name not in ticket.tasks else T.BLOCKED for spec in specs]
        case _ if type(event) not in TASK.events:
            return []
        case _:
            names = getattr(event, "tasks", None) or (event.task,)  # type: ignore[attr-defined]
            assert len(names) == len(set(names))
            return [ticket.tasks[name].state for name in names]


# ------------------------------------------------------------------------------------ decisions


@any_walk
def test_what_is_decided_is_permitted_and_can_be_folded(walk: Walk) -> None:
    for ticket, submitted in play(walk):
        events, _ = decide(ticket, submitted)
        for fact in ticket.stream.record(events, submitted, ticket.now):
            kind = type(fact.event)
            for state in moved(fact.event, ticket.ticket):
                assert TASK.permits(state, kind)
            if kind in TICKET.events:
                assert TICKET.permits(ticket.state, kind)
            elif kind is not CommandNoted:
                assert ticket.state in OPEN
            ticket.stream.fold(TICKETS, fact)


@any_walk
def test_the_same_command_again_yields_nothing(walk: Walk) -> None:
    for ticket, submitted in play(walk):
        _, refused = take(ticket, submitted)
        again = decide(ticket, submitted)
        if refused is None:
            assert ((), None) == again
        else:  # its id is not remembered, and nothing has changed
            assert ((), type(refused)) == (again[0], type(again[1]))


@any_walk
def test_the_same_under_another_id_finds_nothing_left_to_do(walk: Walk) -> None:
    # At once: later it may well find something again, as a second hold or rerun does.
    for ticket, submitted in play(walk):
        take(ticket, submitted)
        events, _ = decide(ticket, ticket.submit(submitted.command))
        assert [] == [event for event in events if not isinstance(event, CommandNoted)]


@any_walk
def test_the_first_answer_stays_the_answer(walk: Walk) -> None:
    answers: dict[bytes, int] = {}
    sent = []
    ticket = Given()
    for ticket, submitted in play(walk):
        _, refused = take(ticket, submitted)
        if refused is None:
            answers[submitted.id.bytes] = ticket.stream.accepted[submitted.id.bytes]
            sent.append(submitted)
    ticket.now += WAITS[-1]
    assert [()] * len(sent) == [ticket.decide(submitted) for submitted in sent]
    assert answers == ticket.stream.accepted


@any_walk
def test_a_decision_changes_nothing_and_neither_does_a_refusal(walk: Walk) -> None:
    for ticket, submitted in play(walk):
        before = ticket.snapshot()
        events, refused = decide(ticket, submitted)
        assert before == ticket.snapshot()
        if refused is not None:
            assert all(isinstance(event, e.ReportRefused) for event in events)
            accepted = dict(ticket.stream.accepted)
            ticket.record(events, submitted)
            assert accepted == ticket.stream.accepted
        else:
            ticket.record(events, submitted)


# ----------------------------------------------------------------------------------- the state


def copied(ticket: Given) -> Given:
    """The ticket behind its serialised form."""
    copy = Given(stream=ticket.stream.id)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(ticket.ticket), type=Ticket)
    copy.stream = Stream(
        id=ticket.stream.id,
        state=state,
        version=ticket.stream.version,
        accepted=dict(ticket.stream.accepted),
    )
    copy.now = ticket.now
    return copy


def types(value: object) -> object:
    """The value with its types, which equality alone does not tell."""
    if isinstance(value, msgspec.Struct):
        return type(value), {name: types(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return dict, [(types(key), types(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [types(each) for each in value]
    return type(value), value


@any_walk
def test_the_state_survives_serialisation(walk: Walk) -> None:
    ticket = taken(walk)
    copy = copied(ticket)
    assert ticket.ticket == copy.ticket
    assert types(ticket.ticket) == types(copy.ticket)


@hypothesis.given(walks(), st.integers(0, 40))
def test_a_state_that_was_serialised_goes_on_as_before(walk: Walk, at: int) -> None:
    copy = Given()
    for n, (ticket, submitted) in enumerate(play(walk)):
        if n <= at:
            copy = copied(ticket)
        copy.now = ticket.now
        events, refused = decide(copy, submitted)
        copy.record(events, submitted)
        assert (events, str(refused)) == ((actual := take(ticket, submitted))[0], str(actual[1]))
        assert ticket.snapshot() == copy.snapshot()


@any_walk
def test_history_alone_gives_the_state(walk: Walk) -> None:
    ticket = taken(walk)
    again = Stream(id=ticket.stream.id, state=Ticket())
    for fact in ticket.history:
        again.fold(TICKETS, fact)
    assert ticket.stream == again


@any_walk
def test_versions_have_no_gaps_and_ids_no_twins(walk: Walk) -> None:
    ticket = taken(walk)
    versions = [fact.originator_version for fact in ticket.history]
    assert list(range(1, ticket.stream.version + 1)) == versions
    assert len(ticket.history) == len({fact.id for fact in ticket.history})


@any_walk
def test_tokens_rise_with_every_claim(walk: Walk) -> None:
    ticket = taken(walk)
    claims = [fact for fact in ticket.history if isinstance(fact.event, e.TaskClaimed)]
    tokens = [a.token for each in ticket.ticket.tasks.values() for a in each.attempts]
    assert [fact.originator_version for fact in claims] == sorted(tokens)
    assert len(tokens) == len(set(tokens))


# ---------------------------------------------------------------------------------- invariants

_BLAME = {
    T.FAILED: K.FAILED,
    T.TIMED_OUT: K.FAILED,
    T.ERRORED: K.ERRORED,
    T.CANCELLED: K.CANCELLED,
}


def check_task(task: Task, needs: list[Task]) -> None:
    states = [need.state for need in needs]
    assert task.waiting == len(states) - states.count(T.PASSED)
    match task.state:
        case T.BLOCKED | T.HELD:  # what cannot come true is skipped at once
            assert not any(s in TASK_ENDED and s is not T.PASSED for s in states)
        case T.SKIPPED | T.CANCELLED:
            pass
        case _:
            assert 0 == task.waiting
    open_attempts = [attempt for attempt in task.attempts if attempt.ended is None]
    assert open_attempts == (task.attempts[-1:] if task.at_work else [])
    if task.state is T.SKIPPED:
        assert task.blames in (None, K.ERRORED, K.CANCELLED)
    else:
        assert task.blames is (_BLAME.get(task.state) if task.required else None)


def check_ticket(ticket: Ticket) -> None:
    tasks = ticket.tasks
    for name, task in tasks.items():
        check_task(task, [tasks[need] for need in task.needs])
        assert [d for d in tasks if name in tasks[d].needs] == sorted(
            task.dependants, key=list(tasks).index
        )
    unfinished = [task for task in tasks.values() if not task.has_ended]
    blames = Counter(task.blames for task in tasks.values())
    assert (len(unfinished), blames[K.FAILED], blames[K.ERRORED], blames[K.CANCELLED]) == (
        ticket.unfinished,
        ticket.failed,
        ticket.errored,
        ticket.cancelled,
    )
    if not ticket.is_open:
        assert [] == unfinished
    elif ticket.may_begin:
        assert [] != unfinished
        for task in unfinished:  # nobody waits for ever
            if task.state is T.BLOCKED:
                assert any(not tasks[need].has_ended for need in task.needs)
    else:
        assert {task.state for task in unfinished} <= {T.BLOCKED, T.HELD}
        assert [] != unfinished or not ticket.sealed
    match ticket.state:
        case K.PASSED:
            assert (0, 0, 0) == (ticket.failed, ticket.errored, ticket.cancelled)
        case K.FAILED:
            assert 0 < ticket.failed
        case K.ERRORED:
            assert 0 == ticket.failed
            assert 0 < ticket.errored
        case K.QUEUED:
            assert not any(task.state is T.RUNNING for task in tasks.values())
        case _:
            pass


@any_walk
def test_counts_and_needs_are_right_after_every_command(walk: Walk) -> None:
    for ticket, submitted in play(walk):
        take(ticket, submitted)
        if ticket.ticket.exists:
            check_ticket(ticket.ticket)


def ancestors(ticket: Ticket, name: str) -> set[str]:
    found = list(ticket.tasks[name].needs)
    for need in found:
        found += (each for each in ticket.tasks[need].needs if each not in found)
    return set(found)


@any_walk
def test_a_skipped_task_names_what_it_lacks_and_is_blamed_for_that(walk: Walk) -> None:
    because: dict[str, str] = {}
    for ticket, submitted in play(walk):
        events, _ = take(ticket, submitted)
        for event in events:
            if isinstance(event, e.TasksSkipped):
                because |= dict.fromkeys(event.tasks, event.because)
            elif isinstance(event, e.TasksReset):
                because = {name: root for name, root in because.items() if name not in event.tasks}
        assert because == {
            name: each.because for name, each in ticket.ticket.tasks.items() if each.because
        }
        for name, root in because.items():
            task, cause = ticket.task(name), ticket.task(root)
            assert T.SKIPPED is task.state
            assert root in ancestors(ticket.ticket, name)
            assert ticket.ticket.is_lost(root)
            assert root not in because  # it ended by itself
            blamed = task.required and not cause.required and cause.state is not T.SKIPPED
            cancelled = cause.state is T.CANCELLED
            assert task.blames is ((K.CANCELLED if cancelled else K.ERRORED) if blamed else None)


# ---------------------------------------------------------------------------- the end of it all


@any_walk
def test_every_ticket_can_be_cancelled(walk: Walk) -> None:
    assert taken(walk).after(c.Cancel()).state not in OPEN


@any_walk
def test_every_ticket_expires(walk: Walk) -> None:
    ticket = taken(walk)
    assert ticket.ticket.deadline is not None
    ticket.now = max(ticket.now, ticket.ticket.deadline)
    assert ticket.after(c.Expire()).state not in OPEN


@any_walk
def test_every_ticket_ends_when_its_tasks_are_done(walk: Walk) -> None:
    ticket = taken(walk)
    if ticket.state in OPEN and not ticket.ticket.sealed:
        ticket.after(c.Seal())
    for other in tuple(ticket.ticket.waits_for):
        ticket.after(c.NoteEnd(ticket=other, state=K.PASSED))
    if ticket.state in OPEN:
        ticket.after(WAITS[2], c.Unhold())
    while unfinished := [name for name in ticket.tasks if not ticket.task(name).has_ended]:
        able = [n for n in unfinished if ticket.task(n).at_work or ticket.tasks[n] is T.READY]
        assert able
        ticket.after(*(claim(n) for n in able if ticket.tasks[n] is T.READY), passed(able[0]))
    assert ticket.state not in OPEN


# ------------------------------------------------------------------ the walks are worth walking


def test_the_walks_take_every_edge_of_both_tables() -> None:
    pick = Random(9).randint
    missing = {
        (source, edge.event)
        for automaton in (TASK, TICKET)
        for edge in automaton.edges
        for source in edge.sources
    }
    for _ in range(2_000):
        for ticket, submitted in play(walk_at_random(pick)):
            events, _ = decide(ticket, submitted)
            for fact in ticket.stream.record(events, submitted, ticket.now):
                kind = type(fact.event)
                missing.discard((ticket.state, kind))
                missing.difference_update(
                    [(state, kind) for state in moved(fact.event, ticket.ticket)]
                )
                ticket.stream.fold(TICKETS, fact)
        if not missing:
            break
    assert set() == missing
