"""How tickets end: by their tasks, by somebody, by a newer ticket, by their deadline."""

from datetime import timedelta

import pytest

from domain.errors import Ended, NotDue, UnknownTask
from domain.event import Command
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    TaskErrored,
    TasksCancelled,
    TicketCancelled,
    TicketErrored,
    TicketExpired,
    TicketPassed,
    TicketSuperseded,
)
from domain.ticket.opening import LIFETIME
from domain.ticket.words import Execution, Outcome
from tests.unit.given import (
    NOON,
    Fact,
    adding,
    claim,
    given,
    opening,
    ran,
    report,
    task,
    working,
)

HOUR = timedelta(hours=1)
WORKFLOW = opening("A", "B", task("C", "B"))


def test_a_ticket_passes_when_every_required_task_has() -> None:
    ended = given(WORKFLOW, *ran("A"), *ran("B"), *ran("C"))
    assert TicketPassed() == ended.events[-1]
    assert TicketState.PASSED is ended.state


def test_a_ticket_can_end_before_any_task_started() -> None:
    given(opening("A"), claim("A")).when(report("A", None, Execution.CONFIGURATION)).then(
        TaskErrored(task="A", token=3, execution=Execution.CONFIGURATION), TicketErrored()
    )


def test_to_cancel_a_ticket_ends_whatever_has_not_ended() -> None:
    given(WORKFLOW, *ran("A"), *working("B")).when(c.Cancel(reason="not wanted")).then(
        TasksCancelled(tasks=("B", "C"), reason="not wanted"), TicketCancelled(reason="not wanted")
    )


def test_to_cancel_some_tasks_leaves_the_others() -> None:
    some = given(WORKFLOW, *working("A")).when(c.Cancel(tasks=("A",), reason="flaky"))
    assert (TasksCancelled(tasks=("A",), reason="flaky"),) == some.events
    assert some.then(*some.events).state is TicketState.RUNNING


def test_to_cancel_a_task_twice_cancels_it_once() -> None:
    given(WORKFLOW).when(c.Cancel(tasks=("A", "A"))).then(TasksCancelled(tasks=("A",))).when(
        c.Cancel(tasks=("A",))
    ).then_nothing()


def test_to_cancel_the_last_tasks_ends_the_ticket() -> None:
    given(WORKFLOW, *ran("A")).when(c.Cancel(tasks=("C", "B"))).then(
        TasksCancelled(tasks=("C", "B")),
        TicketCancelled(reason="a required task was cancelled"),
    )


def test_to_cancel_an_unknown_task_names_its_place() -> None:
    given(WORKFLOW).when(c.Cancel(tasks=("A", "A", "X"))).refused(
        UnknownTask, field="tasks[2]", match="the ticket has no task 'X'"
    )


def test_a_newer_ticket_takes_the_place_of_this_one() -> None:
    superseded = (
        given(opening("A"), *working("A"))
        .when(c.Supersede(by="10"))
        .then(TasksCancelled(tasks=("A",), reason="superseded by 10"), TicketSuperseded(by="10"))
    )
    assert TicketState.SUPERSEDED is superseded.state


def test_a_ticket_expires_at_its_deadline_and_not_before() -> None:
    opened = given(opening("A", deadline=NOON + HOUR), HOUR - timedelta(microseconds=1))
    opened.when(c.Expire()).refused(NotDue, match="The ticket runs out at 2026-03-01T13:00:00")
    opened.now += timedelta(microseconds=1)
    opened.when(c.Expire(reason="no known worker has arch s390x")).then(
        TasksCancelled(tasks=("A",), reason="no known worker has arch s390x"),
        TicketExpired(reason="no known worker has arch s390x"),
    )


def test_a_ticket_without_a_deadline_expires_all_the_same() -> None:
    assert TicketState.EXPIRED is given(opening("A"), LIFETIME, c.Expire()).state


def test_an_unfinished_workflow_expires_too() -> None:
    assert TicketState.EXPIRED is given(opening(sealed=False), LIFETIME, c.Expire()).state


def test_a_ticket_whose_tasks_are_all_held_expires() -> None:
    held = given(opening(task("A", held=True)), LIFETIME, c.Expire())
    assert ({"A": TaskState.CANCELLED}, TicketState.EXPIRED) == (held.tasks, held.state)


ENDED: tuple[tuple[Fact, ...], ...] = (
    ran("A"),
    ran("A", Outcome.FAILED),
    (c.Cancel(),),
    (c.Supersede(by="10"),),
    (LIFETIME, c.Expire()),
)
ended = pytest.mark.parametrize(
    "end", ENDED, ids=["passed", "failed", "cancelled", "superseded", "expired"]
)


@ended
@pytest.mark.parametrize(
    "command", [c.Cancel(), c.Cancel(tasks=("A",)), c.Supersede(by="11"), c.Expire(), c.Seal()]
)
def test_to_end_what_has_ended_changes_nothing(end: tuple[Fact, ...], command: Command) -> None:
    over = given(opening("A"), *end)
    state = over.state
    assert state is over.when(command).then_nothing().state


@ended
def test_what_has_ended_does_not_grow_wait_or_move(end: tuple[Fact, ...]) -> None:
    over = given(opening("A"), *end)
    for command in (adding("B"), c.Hold(), c.Unhold(), c.ChangePriority(priority=5)):
        over.when(command).refused(Ended, match=f"The ticket has ended as {over.state}")


@ended
def test_a_ticket_that_ended_has_no_task_left(end: tuple[Fact, ...]) -> None:
    over = given(opening("A"), *end)
    assert 0 == over.ticket.unfinished
    assert all(each.has_ended for each in over.ticket.tasks.values())


def test_the_priority_of_an_open_ticket_changes() -> None:
    changed = given(opening("A")).when(c.ChangePriority(priority=-3, reason="later"))
    assert -3 == changed.then(*changed.events).ticket.priority
    changed.given.when(c.ChangePriority(priority=-3)).then_nothing()
