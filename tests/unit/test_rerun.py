"""Closed is not final: a ticket, what failed in it, or some of its tasks run again."""

from datetime import timedelta

import pytest

from domain.errors import Ended, Invalid, NotAllowedNow, UnknownTask
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    TaskPassed,
    TasksCancelled,
    TasksHeld,
    TasksReady,
    TasksReset,
    TasksSkipped,
    TicketPassed,
)
from domain.ticket.opening import LIFETIME
from domain.ticket.words import Outcome, Scope
from tests.unit.given import (
    NOON,
    Fact,
    adding,
    claim,
    errored,
    given,
    opening,
    passed,
    ran,
    task,
    working,
)

HOUR = timedelta(hours=1)
CHAIN = opening("A", task("B", "A"), task("C", "B"))
PAIR = opening("A", "B", task("C", "A", "B"))
AGAIN = NOON + LIFETIME


def rerun(*tasks: str) -> c.Rerun:
    return c.Rerun(scope=Scope.TASKS, tasks=tasks)


def test_a_whole_ticket_runs_again() -> None:
    over = given(CHAIN, *ran("A"), *ran("B"), *ran("C"))
    again = over.when(c.Rerun(reason="new compiler")).then(
        TasksReset(tasks=("A", "B", "C"), deadline=AGAIN, reason="new compiler"),
        TasksReady(tasks=("A",)),
    )
    assert TicketState.RUNNING is again.state
    assert {"A": TaskState.READY, "B": TaskState.BLOCKED, "C": TaskState.BLOCKED} == again.tasks
    assert [0, 1, 1] == [each.waiting for each in again.ticket.tasks.values()]


def test_what_runs_again_can_end_otherwise() -> None:
    again = given(opening("A"), *ran("A", Outcome.FAILED), c.Rerun(), *ran("A"))
    assert TicketState.PASSED is again.state


def test_an_attempt_after_a_rerun_is_a_new_one() -> None:
    again = given(opening("A"), *ran("A"), c.Rerun(), claim("A"))
    first, second = again.task("A").attempts
    assert ("task_passed", "tasks_reset") == (first.ended, second.created)
    again.when(passed("A", attempt=0)).then_nothing()
    assert {"A": TaskState.CLAIMED} == again.tasks


def test_only_what_failed_runs_again_with_what_needs_it() -> None:
    over = given(opening("A", "B", task("C", "A"), task("D", "B")), *ran("A", Outcome.FAILED))
    assert TicketState.FAILED is over.after(*ran("B"), *ran("D")).state
    over.when(c.Rerun(scope=Scope.FAILED)).then(
        TasksReset(tasks=("A", "C"), deadline=AGAIN), TasksReady(tasks=("A",))
    )


@pytest.mark.parametrize(
    "bad", [ran("A", Outcome.FAILED), errored("A"), (c.Cancel(),), (LIFETIME, c.Expire())]
)
def test_whatever_ended_badly_counts_as_failed(bad: tuple[Fact, ...]) -> None:
    again = given(opening("A"), *bad, c.Rerun(scope=Scope.FAILED))
    assert ({"A": TaskState.READY}, TicketState.RUNNING) == (again.tasks, again.state)


def test_nothing_runs_again_if_nothing_failed() -> None:
    given(opening("A"), *ran("A")).when(c.Rerun(scope=Scope.FAILED)).then_nothing()
    given(opening("A")).when(c.Rerun()).then_nothing()


def test_what_needs_a_task_that_runs_again_runs_again_too() -> None:
    over = given(CHAIN, *ran("A"), *ran("B"), *ran("C"))
    over.when(rerun("B")).then(
        TasksReset(tasks=("B", "C"), deadline=AGAIN), TasksReady(tasks=("B",))
    )


def test_a_task_that_was_ready_waits_again_for_what_it_needs() -> None:
    half = given(CHAIN, *ran("A"))
    assert TaskState.READY is half.tasks["B"]
    half.when(rerun("A")).then(TasksReset(tasks=("A", "B")), TasksReady(tasks=("A",)))
    assert [0, 1, 1] == [each.waiting for each in half.ticket.tasks.values()]


def test_a_held_task_stays_held_and_waits_for_what_runs_again() -> None:
    held = given(opening("A", task("B", "A", held=True)), *ran("A"), rerun("A"))
    assert {"A": TaskState.READY, "B": TaskState.HELD} == held.tasks
    assert 1 == held.task("B").waiting
    assert TaskState.BLOCKED is held.after(c.Unhold()).tasks["B"]


def test_a_gate_of_the_workflow_closes_again() -> None:
    gated = opening("A", task("B", "A", held=True))
    given(gated, *ran("A"), c.Cancel()).when(c.Rerun()).then(
        TasksReset(tasks=("A", "B"), deadline=AGAIN),
        TasksHeld(tasks=("B",)),
        TasksReady(tasks=("A",)),
    )


def test_who_names_a_task_with_a_gate_opens_it() -> None:
    gated = opening("A", task("B", "A", held=True))
    given(gated, *ran("A"), c.Cancel()).when(rerun("B")).then(
        TasksReset(tasks=("B",), deadline=AGAIN), TasksReady(tasks=("B",))
    )


def test_while_a_task_is_at_work_what_it_needs_does_not_run_again() -> None:
    busy = given(CHAIN, *ran("A"), *working("B"))
    busy.when(rerun("A")).refused(
        NotAllowedNow, match="Task 'B' is running: it needs 'A', to be run again"
    )
    busy.when(c.Rerun()).refused(NotAllowedNow)


def test_a_task_at_work_is_not_disturbed() -> None:
    given(CHAIN, *working("A")).when(rerun("A")).then_nothing()


def test_a_task_does_not_run_again_without_what_it_needs() -> None:
    over = given(CHAIN, *ran("A", Outcome.FAILED))
    over.when(rerun("B")).refused(
        NotAllowedNow, match="Task 'B' is skipped: a task that it needs has not passed"
    )
    over.when(rerun("B", "A")).then(
        TasksReset(tasks=("A", "B", "C"), deadline=AGAIN), TasksReady(tasks=("A",))
    )


def test_a_task_that_another_need_has_lost_is_skipped_because_of_that() -> None:
    over = given(PAIR, *ran("A", Outcome.FAILED), *ran("B", Outcome.FAILED))
    again = over.when(rerun("A")).then(
        TasksReset(tasks=("A", "C"), deadline=AGAIN),
        TasksSkipped(tasks=("C",), because="B"),
        TasksReady(tasks=("A",)),
    )
    assert {"A": TaskState.READY, "B": TaskState.FAILED, "C": TaskState.SKIPPED} == again.tasks
    assert TicketState.FAILED is again.after(*ran("A")).state


def test_what_was_skipped_for_two_reasons_does_not_count_for_the_one_that_is_gone() -> None:
    workflow = opening(
        task("A", required=False), task("B", required=False), task("C", "A", "B"), task("D", "C")
    )
    over = given(workflow, *ran("A", Outcome.FAILED), *ran("B", Outcome.SKIPPED))
    assert TicketState.ERRORED is over.state
    again = over.when(c.Rerun(scope=Scope.FAILED)).then(
        TasksReset(tasks=("A", "C", "D"), deadline=AGAIN),
        TasksSkipped(tasks=("C", "D"), because="B"),
        TasksReady(tasks=("A",)),
    )
    assert TicketState.PASSED is again.after(*ran("A")).state


def test_nothing_runs_again_if_all_that_could_would_be_skipped_again() -> None:
    over = given(
        opening(task("A", required=False), task("B", "A"), "C"),
        c.Cancel(tasks=("B",)),
        *ran("A", Outcome.SKIPPED),
        *ran("C"),
    )
    assert TicketState.CANCELLED is over.state
    over.when(c.Rerun(scope=Scope.FAILED)).then_nothing()


def test_after_two_reruns_of_two_failed_needs_all_can_pass() -> None:
    over = given(PAIR, *ran("A", Outcome.FAILED), *ran("B", Outcome.FAILED))
    assert TaskState.SKIPPED is over.after(rerun("A"), *ran("A")).tasks["C"]
    assert TicketState.PASSED is over.after(rerun("B"), *ran("B"), *ran("C")).state


def test_an_open_ticket_keeps_its_deadline_and_a_closed_one_gets_a_new_one() -> None:
    command = opening("A", "B", deadline=NOON + HOUR)
    assert NOON + HOUR == given(command, *ran("A"), HOUR / 2, rerun("A")).ticket.deadline
    late = given(command, *ran("A"), *ran("B"), 5 * HOUR, rerun("A"))
    assert NOON + 6 * HOUR == late.ticket.deadline


def test_an_expired_ticket_that_runs_again_expires_again() -> None:
    again = given(opening("A"), LIFETIME, c.Expire(), c.Rerun(), LIFETIME, c.Expire())
    assert TicketState.EXPIRED is again.state


def test_a_queued_ticket_stays_queued() -> None:
    again = given(opening("A", "B"), c.Cancel(tasks=("A",)), rerun("A"))
    assert TicketState.QUEUED is again.state
    assert TicketState.PASSED is again.after(*ran("A"), *ran("B")).state


def test_a_superseded_ticket_does_not_run_again() -> None:
    given(opening("A"), c.Supersede(by="10")).when(c.Rerun()).refused(
        Ended, match="The ticket has ended as superseded: it cannot be run again"
    )


def test_the_tasks_are_named_if_and_only_if_the_scope_is_tasks() -> None:
    over = given(opening("A"), *ran("A"))
    over.when(rerun()).refused(Invalid, field="tasks", match="name the tasks")
    over.when(c.Rerun(tasks=("A",))).refused(Invalid, field="tasks", match="names none")
    over.when(rerun("A", "A", "X")).refused(UnknownTask, field="tasks[2]")


def test_a_task_named_twice_runs_again_once() -> None:
    given(opening("A"), *ran("A")).when(rerun("A", "A")).then(
        TasksReset(tasks=("A",), deadline=AGAIN), TasksReady(tasks=("A",))
    )


def test_what_was_cancelled_before_its_workflow_was_complete_waits_for_the_seal() -> None:
    again = given(opening("A", sealed=False), c.Cancel(), c.Rerun())
    assert ({"A": TaskState.BLOCKED}, TicketState.RUNNING) == (again.tasks, again.state)
    again.after(adding("B"), c.Seal())
    assert {"A": TaskState.READY, "B": TaskState.READY} == again.tasks


def test_a_rerun_repeated_under_another_id_finds_nothing_left_to_do() -> None:
    for scope in (Scope.TICKET, Scope.FAILED):
        over = given(CHAIN, *ran("A"), *ran("B", Outcome.FAILED), c.Rerun(scope=scope))
        over.when(c.Rerun(scope=scope)).then_nothing()


def test_the_outcome_of_what_does_not_run_again_still_counts() -> None:
    over = given(opening("A", "B"), *ran("A", Outcome.FAILED), *ran("B"), rerun("B"), *working("B"))
    assert (1, 0, 0) == (over.ticket.failed, over.ticket.errored, over.ticket.cancelled)
    assert TicketState.FAILED is over.after(passed("B")).state


def test_a_ticket_runs_again_as_often_as_one_likes() -> None:
    again: tuple[Fact, ...] = (c.Rerun(), *ran("A"))
    often = given(opening("A"), *ran("A"), *again * 5)
    assert TicketState.PASSED is often.state
    assert 6 == len(often.task("A").attempts)
    assert isinstance(often.events[-2], TaskPassed)
    assert TicketPassed() == often.events[-1]
    assert not any(isinstance(event, TasksCancelled) for event in often.events)
