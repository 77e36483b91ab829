"""Tickets that wait for other tickets: until those have passed, or until one has not."""

from datetime import timedelta

import pytest

from domain.errors import Invalid
from domain.ticket import commands as c
from domain.ticket.automata import OPEN, TICKET_ENDED, TaskState, TicketState
from domain.ticket.events import (
    AwaitedPassed,
    TasksAdded,
    TasksCancelled,
    TasksHeld,
    TasksReady,
    TasksReset,
    TasksUnheld,
    TicketCancelled,
    TicketExpired,
    TicketSealed,
)
from domain.ticket.opening import LIFETIME
from domain.ticket.words import Scope
from projections.history import rows
from tests.unit.given import Given, adding, given, opening, ran, task
from tests.unit.tables import Tables

T, K = TaskState, TicketState
WAITING = opening("A", task("B", "A"), waits_for=("7", "8"))


def ended(ticket: str, state: TicketState = K.PASSED) -> c.NoteEnd:
    return c.NoteEnd(ticket=ticket, state=state)


SEVEN, EIGHT = ended("7"), ended("8")


def test_nothing_is_ready_before_every_awaited_ticket_has_passed() -> None:
    ticket = given(WAITING)
    assert (K.QUEUED, {"A": T.BLOCKED, "B": T.BLOCKED}) == (ticket.state, ticket.tasks)
    (
        ticket.when(EIGHT)
        .then(AwaitedPassed(ticket="8"))
        .when(SEVEN)
        .then(AwaitedPassed(ticket="7"), TasksReady(tasks=("A",)))
        .after(*ran("A"), *ran("B"))
    )
    assert K.PASSED is ticket.state


@pytest.mark.parametrize(
    ("state", "has"),
    [
        (K.FAILED, "failed"),
        (K.ERRORED, "errored"),
        (K.CANCELLED, "been cancelled"),
        (K.SUPERSEDED, "been superseded"),
        (K.EXPIRED, "expired"),
    ],
)
def test_one_that_has_not_passed_cancels_who_waits_for_it(state: TicketState, has: str) -> None:
    reason = f"ticket 7, for which it waited, has {has}"
    given(WAITING).when(ended("7", state)).then(
        TasksCancelled(tasks=("A", "B"), reason=reason), TicketCancelled(reason=reason)
    )


def test_the_end_of_a_ticket_that_is_not_awaited_changes_nothing() -> None:
    given(WAITING).when(ended("9", K.FAILED)).then_nothing()
    given(opening("A")).when(ended("7", K.FAILED)).then_nothing()


def test_one_that_has_passed_once_may_fail_later() -> None:
    given(WAITING, SEVEN).when(ended("7", K.FAILED)).then_nothing()


def test_who_has_ended_hears_nothing() -> None:
    given(WAITING, c.Cancel()).when(SEVEN).then_nothing()


@pytest.mark.parametrize("state", [state for state in TicketState if state not in TICKET_ENDED])
def test_only_an_end_is_noted(state: TicketState) -> None:
    given(WAITING).when(ended("7", state)).refused(Invalid, field="state")


@pytest.mark.parametrize(
    ("waits_for", "field"), [(("7", "8", "7"), "waits_for[2]"), (("7", "9"), "waits_for[1]")]
)
def test_a_ticket_waits_for_others_and_for_each_once(
    waits_for: tuple[str, ...], field: str
) -> None:
    given().when(opening("A", waits_for=waits_for)).refused(Invalid, field=field)


def test_its_deadline_ends_the_wait() -> None:
    given(WAITING, LIFETIME).when(c.Expire()).then(
        TasksCancelled(tasks=("A", "B"), reason="the deadline has passed"),
        TicketExpired(reason="the deadline has passed"),
    )


# ---------------------------------------------------------------------- whatever else is asked for


def test_what_is_added_waits_too() -> None:
    ticket = given(WAITING)
    [added] = ticket.when(adding("C")).events
    assert isinstance(added, TasksAdded)
    ticket.after(adding("C"), SEVEN).when(EIGHT).then(
        AwaitedPassed(ticket="8"), TasksReady(tasks=("A", "C"))
    )


def test_to_seal_is_not_to_begin() -> None:
    ticket = given(opening("A", sealed=False, waits_for=("7",)))
    ticket.when(c.Seal()).then(TicketSealed()).when(SEVEN).then(
        AwaitedPassed(ticket="7"), TasksReady(tasks=("A",))
    )


def test_what_was_awaited_may_pass_before_the_workflow_is_complete() -> None:
    ticket = given(opening("A", sealed=False, waits_for=("7",)))
    ticket.when(SEVEN).then(AwaitedPassed(ticket="7")).when(c.Seal()).then(
        TicketSealed(), TasksReady(tasks=("A",))
    )


def test_a_gate_stays_closed_when_the_wait_is_over_and_its_opening_does_not_end_the_wait() -> None:
    held = given(WAITING).when(c.Hold(tasks=("A",))).then(TasksHeld(tasks=("A",)))
    held.after(SEVEN).when(c.Unhold()).then(TasksUnheld(tasks=("A",)))
    given(WAITING, c.Hold(tasks=("A",)), SEVEN).when(EIGHT).then(AwaitedPassed(ticket="8"))


def test_run_again_it_waits_for_what_has_not_passed_once() -> None:
    ticket = given(WAITING, SEVEN, ended("8", K.FAILED))
    [reset] = ticket.when(c.Rerun(scope=Scope.TICKET)).events
    assert isinstance(reset, TasksReset)
    ticket.after(c.Rerun(scope=Scope.TICKET)).when(EIGHT).then(
        AwaitedPassed(ticket="8"), TasksReady(tasks=("A",))
    )


def test_run_again_after_it_has_begun_it_waits_for_nothing() -> None:
    ticket = given(WAITING, SEVEN, EIGHT, *ran("A"), *ran("B"), c.Rerun(scope=Scope.TICKET))
    assert T.READY is ticket.tasks["A"]


def test_tasks_that_are_cancelled_meanwhile_are_gone_when_the_wait_is_over() -> None:
    ticket = given(opening("A", task("B", required=False), waits_for=("7",)))
    ticket.after(c.Cancel(tasks=("B",))).when(SEVEN).then(
        AwaitedPassed(ticket="7"), TasksReady(tasks=("A",))
    )


# ------------------------------------------------------------------------- what is said about it


def shown(ticket: Given) -> list[str]:
    tables = Tables()
    tables.follow([ticket.history], forgetful=True)
    return tables.tickets["9"].waits_for


def test_the_row_says_for_which_it_waits_still() -> None:
    assert ["7", "8"] == shown(given(WAITING))
    assert ["8"] == shown(given(WAITING, SEVEN))
    assert [] == shown(given(WAITING, SEVEN, EIGHT))


def test_the_history_tells_for_which_it_waits_still() -> None:
    told = list(rows(given(WAITING, EIGHT, SEVEN).history))
    assert "waits for 7, 8 to pass" in told[0].details
    assert [
        "ticket 8 passed, for which it waited",
        "ticket 7 passed, for which it waited",
    ] == [row.what for row in told[1:3]]


# ----------------------------------------------------------------------- what was there before


def test_a_ticket_that_waits_for_none_is_known_by_the_same_digest_as_before() -> None:
    """It was taken from a version that did not know how to wait: its tickets are known again."""
    opened = given(opening("A", task("B", "A", retries=3), labels={"suite": "trixie"}, priority=2))
    assert "f3c7da1d786842078d5270f24435fd76" == opened.ticket.body.hex()


def test_to_wait_for_another_is_another_body() -> None:
    bodies = {given(opening("A", waits_for=w)).ticket.body for w in ((), ("7",), ("8",))}
    assert 3 == len(bodies)


def test_who_waits_is_open() -> None:
    assert given(WAITING, timedelta(days=1)).state in OPEN
