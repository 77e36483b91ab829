"""Policies: which events concern them, what they ask for, and under which ids."""

from datetime import timedelta
from uuid import UUID

import hypothesis
import pytest

from domain.envelope import Recorded, Submitted, check
from domain.event import Command, CommandNoted, Event
from domain.policy import (
    Ended,
    Heard,
    Opened,
    Reopened,
    expiry,
    matter,
    superseding,
    timeout,
    waiting,
)
from domain.ticket import commands as c
from domain.ticket.automata import OPEN, TICKET_ENDED, TicketState
from domain.ticket.words import Limit, Precedence, Scope
from tests.unit.given import NOON, given, opening, ran
from tests.unit.test_views import walked
from tests.unit.walks import Walk, walks

CAUSE, OTHER = UUID(int=1), UUID(int=2)
K = TicketState


def matters(*facts: Command) -> list[object]:
    return [found for found in map(matter, given(*facts).history) if found is not None]


# --------------------------------------------------------------------------- what concerns them


def test_an_opening_concerns_who_takes_the_place_of_others_or_waits_for_some() -> None:
    precedence = Precedence("tower/42", 7)
    [opened] = matters(opening("A", supersedes=precedence))
    assert isinstance(opened, Opened)
    assert ("9", precedence, ()) == (opened.ticket, opened.precedence, opened.waits_for)
    [opened] = matters(opening("A", waits_for=("7",)))
    assert isinstance(opened, Opened)
    assert (None, ("7",)) == (opened.precedence, opened.waits_for)
    assert [] == matters(opening("A"))


def test_an_end_and_what_is_run_again_after_it_concern_who_waits() -> None:
    ended, again = matters(opening("A"), c.Cancel(), c.Rerun(scope=Scope.TICKET))
    assert isinstance(ended, Ended)
    assert isinstance(again, Reopened)
    assert ("9", K.CANCELLED, "9") == (ended.ticket, ended.state, again.ticket)


def test_who_has_heard_waits_no_more() -> None:
    _, heard = matters(opening("A", waits_for=("7", "8")), c.NoteEnd(ticket="7", state=K.PASSED))
    assert Heard("9", "7") == heard


@hypothesis.given(walks())
def test_whether_a_ticket_is_open_follows_from_what_concerns_policies(walk: Walk) -> None:
    ticket = walked(walk)
    state: TicketState | None = None
    for found in map(matter, ticket.history):
        match found:
            case Ended(state=end):
                assert state is None
                state = end
            case Reopened():
                assert state is not None
                state = None
            case _:
                pass
    assert (state is None) == (ticket.state in OPEN or not ticket.history)
    assert state in (None, ticket.state)


# --------------------------------------------------------------------------- what they ask for


def test_the_newest_supersedes_those_that_are_older() -> None:
    one, two = superseding([("7", CAUSE), ("8", OTHER)], "9")
    assert [("ticket/7", c.Supersede(by="9")), ("ticket/8", c.Supersede(by="9"))] == [
        (one.stream, one.command),
        (two.stream, two.command),
    ]
    assert {"rule:superseding"} == {one.actor, two.actor}


def test_whoever_supersedes_a_ticket_it_is_the_same_command_until_it_is_run_again() -> None:
    [by_9] = superseding([("7", CAUSE)], "9")
    [by_10] = superseding([("7", CAUSE)], "10")
    [again] = superseding([("7", OTHER)], "10")
    assert by_9.id == by_10.id != again.id


def test_who_waits_hears_of_the_end() -> None:
    [told] = waiting(CAUSE, "7", K.FAILED, ["9"])
    assert ("ticket/9", c.NoteEnd(ticket="7", state=K.FAILED), "rule:waiting") == (
        told.stream,
        told.command,
        told.actor,
    )


def test_each_waiter_each_awaited_and_each_cause_make_another_command() -> None:
    commands = [
        *waiting(CAUSE, "7", K.PASSED, ["9", "10"]),
        *waiting(CAUSE, "8", K.PASSED, ["9"]),
        *waiting(OTHER, "7", K.PASSED, ["9"]),
        *superseding([("9", CAUSE)], "7"),
    ]
    assert 5 == len({command.id for command in commands})
    assert commands[:2] == list(waiting(CAUSE, "7", K.PASSED, ["9", "10"]))


def test_what_is_due_later_is_another_command() -> None:
    later = NOON + timedelta(seconds=1)
    commands = [
        expiry("9", NOON),
        expiry("9", later),
        expiry("8", NOON),
        timeout("9", "A", Limit.QUEUE, None, NOON),
        timeout("9", "A", Limit.QUEUE, None, later),
        timeout("9", "A", Limit.RUN, 3, NOON),
        timeout("9", "A", Limit.RUN, 4, NOON),
        timeout("9", "A", Limit.START, 4, NOON),
        timeout("9", "B", Limit.START, 4, NOON),
    ]
    assert len(commands) == len({command.id for command in commands})
    assert expiry("9", NOON) == commands[0]
    assert {"reaper"} == {command.actor for command in commands}


def test_the_queue_has_no_token_to_show() -> None:
    assert c.TimeOut(task="A", limit=Limit.QUEUE) == timeout("9", "A", Limit.QUEUE, 3, NOON).command


@pytest.mark.parametrize(
    "command",
    [
        *superseding([("7", CAUSE)], "9"),
        *waiting(CAUSE, "7", K.PASSED, ["9"]),
        expiry("9", NOON),
        timeout("9", "A", Limit.QUEUE, None, NOON),
    ],
    ids=lambda command: command.command.topic,
)
def test_what_is_asked_for_can_be_sent(command: Submitted) -> None:
    check(command)


def test_most_events_concern_nobody() -> None:
    concerned = {type(fact.event) for fact in _concerned(given(opening("A"), *ran("A")).history)}
    assert {"TicketPassed"} == {kind.__name__ for kind in concerned}
    assert matter(_fact(CommandNoted())) is None


def _concerned(history: list[Recorded]) -> list[Recorded]:
    return [fact for fact in history if matter(fact) is not None]


def _fact(event: Event) -> Recorded:
    ticket = given(opening("A"))
    [fact] = ticket.record((event,), ticket.submit(c.Seal()))
    return fact


def test_each_end_is_told_as_what_it_is() -> None:
    assert len(TICKET_ENDED) == len(set(TICKET_ENDED))
    for state, command in (
        (K.CANCELLED, c.Cancel()),
        (K.SUPERSEDED, c.Supersede(by="10")),
    ):
        ended = matters(opening("A"), command)[-1]
        assert isinstance(ended, Ended)
        assert state is ended.state
