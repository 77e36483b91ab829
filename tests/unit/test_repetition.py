"""The same command again, however late, changes nothing and gets the first answer."""

from datetime import timedelta
from uuid import RFC_4122, UUID, uuid5

import pytest

from domain.decider import Deciders
from domain.envelope import event_id, partition_of
from domain.errors import Conflict, DifferentBody, NotReady, StaleToken, TooLate
from domain.event import CommandNoted
from domain.stream import Stream, VersionGap
from domain.ticket import TICKETS
from domain.ticket import commands as c
from domain.ticket.automata import TicketState
from domain.ticket.events import ReportRefused, TaskClaimed, TaskPassed, TicketPassed
from domain.ticket.state import Ticket
from domain.ticket.words import Outcome
from tests.unit.given import (
    Fact,
    Given,
    adding,
    claim,
    given,
    lose,
    opening,
    passed,
    ran,
    start,
    task,
    working,
)

COMMAND = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
LATER = timedelta(days=30)


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ((), opening("A")),
        ((opening("A"),), claim("A")),
        ((opening("A"), claim("A")), start("A")),
        ((opening("A"), *working("A")), passed("A")),
        ((opening("A"), *working("A")), lose("A")),
        ((opening("A"),), adding("B")),
        ((opening("A", sealed=False),), c.Seal()),
        ((opening("A"),), c.Hold()),
        ((opening("A"), c.Hold()), c.Unhold()),
        ((opening("A"),), c.ChangePriority(priority=9)),
        ((opening("A"),), c.Cancel()),
        ((opening("A"), *ran("A")), c.Rerun()),
        ((opening("A"),), c.Supersede(by="10")),
        ((opening("A", waits_for=("7",)),), c.NoteEnd(ticket="7", state=TicketState.PASSED)),
        ((opening("A", waits_for=("7",)),), c.NoteEnd(ticket="7", state=TicketState.FAILED)),
        ((opening("A"), timedelta(days=7)), c.Expire()),
    ],
)
def test_a_command_is_accepted_once(before: tuple[Fact, ...], command: Fact) -> None:
    assert not isinstance(command, timedelta)
    once = given(*before)
    submitted = once.submit(command, COMMAND)
    version = once.stream.version + 1
    once.record(once.decide(submitted), submitted)
    assert version == once.stream.accepted[COMMAND.bytes]
    state = once.snapshot()
    once.now += LATER
    assert () == once.decide(submitted, waited=LATER)
    assert (state, version) == (once.snapshot(), once.stream.accepted[COMMAND.bytes])


def test_every_command_of_a_ticket_s_life_can_be_repeated_after_its_end() -> None:
    life = Given()
    steps = (
        opening("A", task("B", "A"), sealed=False),
        adding("C"),
        c.Seal(),
        c.ChangePriority(priority=3),
        c.ChangePriority(priority=3),
        c.Hold(tasks=("C",)),
        c.Unhold(),
        *working("A"),
        lose("A"),
        *working("A"),
        passed("A"),
        *working("B"),
        passed("B"),
        c.Cancel(tasks=("C",)),
        c.Cancel(),
    )
    sent = []
    for step in steps:
        assert not isinstance(step, timedelta)
        submitted = life.submit(step)
        version = life.stream.version + 1
        life.record(life.decide(submitted), submitted)
        sent.append((submitted, version))
    assert TicketState.CANCELLED is life.state
    state = life.snapshot()
    life.now += LATER
    for submitted, version in (*sent, *reversed(sent)):
        assert () == life.decide(submitted)
        assert version == life.stream.accepted[submitted.id.bytes]
    assert state == life.snapshot()


def test_a_command_that_finds_nothing_to_do_is_noted() -> None:
    noted = given(opening("A")).when(c.Unhold(), id=COMMAND).then(CommandNoted())
    assert 3 == noted.stream.accepted[COMMAND.bytes]
    held = noted.after(c.Hold())
    assert () == held.decide(held.submit(c.Unhold(), COMMAND))


def test_the_same_open_under_another_id_gets_the_first_answer() -> None:
    opened = given(opening("A"), *ran("A"))
    assert 1 == opened.when(opening("A")).answer
    opened.when(opening("B")).refused(DifferentBody, match="the ticket exists already")


def test_an_asked_again_claim_gets_its_token_and_no_second_attempt() -> None:
    claimed = given(opening("A"))
    assert 3 == claimed.when(claim("A")).answer
    assert 3 == claimed.when(claim("A")).answer
    assert 3 == claimed.when(claim("A"), id=UUID(int=1 << 64)).answer
    assert 1 == len(claimed.task("A").attempts)


# ------------------------------------------------------------------------------------- refusals


def test_a_refused_command_leaves_no_event_and_may_come_true_later() -> None:
    blocked = given(opening("A", task("B", "A")))
    version = blocked.stream.version
    blocked.when(claim("B"), id=COMMAND).refused(NotReady)
    assert (version, False) == (blocked.stream.version, COMMAND.bytes in blocked.stream.accepted)
    blocked.after(*ran("A")).when(claim("B"), id=COMMAND).then(
        TaskClaimed(task="B", worker="w1", request="r1", lease=60.0)
    )


def test_a_refused_report_is_told_by_history_and_not_remembered_as_accepted() -> None:
    lost = given(opening("A"), *working("A"), lose("A"))
    refused = lost.when(passed("A"), id=COMMAND).refused(
        StaleToken, leaves=(ReportRefused(task="A", token=3),)
    )
    assert COMMAND.bytes not in refused.stream.accepted
    refused.when(passed("A"), id=COMMAND).refused(StaleToken)


def test_what_a_refused_command_left_has_an_id_that_no_other_event_gets() -> None:
    ticket = given(opening("A"), *working("A"), lose("A"), *working("A"), lose("A"))
    for attempt in (0, 1):
        ticket.when(passed("A", attempt=attempt), id=COMMAND).refused(
            StaleToken, leaves=(ReportRefused(task="A", token=(3, 6)[attempt]),)
        )
    ticket.after(*working("A")).when(passed("A"), id=COMMAND).then(
        TaskPassed(task="A", token=11, outcome=Outcome.PASSED), TicketPassed()
    )
    assert len(ticket.history) == len({recorded.id for recorded in ticket.history})


def test_nobody_is_answered_who_does_not_wait_any_more() -> None:
    late = given(opening("A"))
    late.when(claim("A"), id=COMMAND, patience=5.0, waited=timedelta(seconds=5.001)).refused(
        TooLate, match=r"waited 5 s for an answer; the command was decided after 5\.001 s"
    )
    assert issubclass(TooLate, Conflict)
    assert [] == late.task("A").attempts


@pytest.mark.parametrize("patience", [5.0, 1e300, float("inf")])
def test_who_still_waits_is_answered(patience: float) -> None:
    waiting = given(opening("A"))
    claimed = waiting.when(claim("A"), patience=patience, waited=timedelta(seconds=5))
    assert 1 == len(claimed.events)


def test_opens_and_reports_never_expire() -> None:
    assert 2 == len(Given().when(opening("A"), waited=LATER).events)
    assert 2 == len(given(opening("A"), *working("A")).when(passed("A"), waited=LATER).events)


def test_an_accepted_command_is_not_too_late_however_late_it_is_repeated() -> None:
    claimed = given(opening("A")).when(claim("A"), id=COMMAND, patience=5.0)
    ticket = claimed.then(*claimed.events)
    assert () == ticket.when(claim("A"), id=COMMAND, patience=5.0, waited=LATER).events


# -------------------------------------------------------------------- ids, versions, partitions


def test_an_event_s_id_follows_from_the_stream_the_command_and_the_number() -> None:
    opened, ready = given(opening("A")).history
    assert event_id("ticket/9", UUID(int=1), 1) == opened.id
    assert event_id("ticket/9", UUID(int=1), 2) == ready.id


def test_an_event_s_id_is_a_uuid5() -> None:
    id_ = event_id("ticket/9", COMMAND, 2)
    assert uuid5(COMMAND, "ticket/9#2") == id_
    assert (5, RFC_4122) == (id_.version, id_.variant)


def test_the_same_command_has_other_event_ids_in_another_stream() -> None:
    ids = {
        recorded.id
        for stream in ("ticket/9", "ticket/10", "ticket/1")
        for recorded in Given(opening("A"), stream=stream).history
    }
    assert 6 == len(ids)


def test_an_event_carries_its_command_and_its_actor() -> None:
    for recorded in given(opening("A")).history:
        assert ("ticket/9", UUID(int=1), "a test") == (
            recorded.originator_id,
            recorded.causationid,
            recorded.actor,
        )


def test_a_gap_in_the_versions_is_not_folded() -> None:
    first, second = given(opening("A")).history
    stream = Stream(id="ticket/9", state=Ticket())
    with pytest.raises(VersionGap, match="ticket/9 is at version 0, and its next event has 2"):
        stream.fold(TICKETS, second)
    stream.fold(TICKETS, first)
    with pytest.raises(VersionGap, match="is at version 1, and its next event has 1"):
        stream.fold(TICKETS, first)


def test_the_kind_of_a_stream_says_who_decides() -> None:
    deciders = Deciders([TICKETS])
    assert TICKETS is deciders.of("ticket/9")
    assert None is deciders.of("worker/9")
    assert [TICKETS] == list(deciders)


@pytest.mark.parametrize(
    ("key", "hash_"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_a_stream_lives_where_kafka_s_java_clients_put_its_id(key: str, hash_: int) -> None:
    for partitions in (1, 2, 3, 8, 12, 1 << 31):
        assert (hash_ & 0x7FFFFFFF) % partitions == partition_of(key, partitions)
