"""What a task needs, and what becomes of it if that does not pass."""

from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    TaskErrored,
    TaskFailed,
    TaskPassed,
    TasksCancelled,
    TasksHeld,
    TaskSkipped,
    TasksReady,
    TasksSkipped,
    TicketCancelled,
    TicketErrored,
    TicketFailed,
    TicketOpened,
    TicketPassed,
)
from domain.ticket.words import Execution, Outcome
from domain.workflow import Takes
from tests.unit.given import (
    adding,
    errored,
    failed,
    given,
    opening,
    passed,
    ran,
    report,
    task,
    working,
)

CHAIN = opening("A", task("B", "A"), task("C", "B"))


def test_a_task_waits_for_all_that_it_needs() -> None:
    both = given(opening("A", "B", task("C", "A", "B")), *ran("A"))
    assert TaskState.BLOCKED is both.tasks["C"]
    both = given(opening("A", "B", task("C", "A", "B")), *ran("A"), *working("B"))
    both.when(passed("B")).then(
        TaskPassed(task="B", token=both.task("B").attempts[0].token, outcome=Outcome.PASSED),
        TasksReady(tasks=("C",)),
    )


def test_a_task_that_passes_makes_ready_all_that_waited_for_it_alone() -> None:
    fan = given(opening("A", "D", task("B", "A"), task("C", "A"), task("E", "A", "D")), *ran("A"))
    assert TasksReady(tasks=("B", "C")) == fan.events[-1]


def test_what_needs_a_failed_task_is_skipped_with_that_reason() -> None:
    given(CHAIN, *working("A")).when(failed("A")).then(
        TaskFailed(task="A", token=3, outcome=Outcome.FAILED),
        TasksSkipped(tasks=("B", "C"), because="A"),
        TicketFailed(),
    )


def test_what_needs_nothing_of_a_failed_task_goes_on() -> None:
    other = given(opening("A", "B", task("C", "B"), task("D", "A")), *working("A"), failed("A"))
    assert TicketState.RUNNING is other.state
    assert {
        "A": TaskState.FAILED,
        "B": TaskState.READY,
        "C": TaskState.BLOCKED,
        "D": TaskState.SKIPPED,
    } == other.tasks


def test_a_task_is_skipped_once_although_it_needs_two_that_failed() -> None:
    two = given(opening("A", "B", task("C", "A", "B")), *ran("A", Outcome.FAILED), *working("B"))
    two.when(failed("B")).then(
        TaskFailed(task="B", token=two.task("B").attempts[0].token, outcome=Outcome.FAILED),
        TicketFailed(),
    )


def test_what_needs_a_task_that_had_nothing_to_do_is_skipped_and_the_ticket_passes() -> None:
    given(opening("A", task("B", "A")), *working("A")).when(report("A", Outcome.SKIPPED)).then(
        TaskSkipped(task="A", token=3, outcome=Outcome.SKIPPED),
        TasksSkipped(tasks=("B",), because="A"),
        TicketPassed(),
    )


def test_what_needs_a_cancelled_task_is_skipped() -> None:
    given(CHAIN).when(c.Cancel(tasks=("B",))).then(
        TasksCancelled(tasks=("B",)), TasksSkipped(tasks=("C",), because="B")
    )


def test_tasks_that_are_cancelled_together_are_not_skipped_because_of_one_another() -> None:
    given(CHAIN).when(c.Cancel(tasks=("C", "A"))).then(
        TasksCancelled(tasks=("C", "A")),
        TasksSkipped(tasks=("B",), because="A"),
        TicketCancelled(reason="a required task was cancelled"),
    )


def test_an_optional_task_never_fails_its_ticket() -> None:
    for outcome in (Outcome.FAILED, Outcome.NEEDS_INSPECTION, Outcome.SKIPPED):
        optional = given(opening(task("A", required=False), "B"), *ran("A", outcome), *ran("B"))
        assert TicketState.PASSED is optional.state
    for ending in (errored("A"), (c.Cancel(tasks=("A",)),)):
        optional = given(opening(task("A", required=False), "B"), *ending, *ran("B"))
        assert TicketState.PASSED is optional.state


def test_a_required_task_that_could_not_run_does_not_pass_unnoticed() -> None:
    workflow = opening(task("A", required=False), task("B", "A", required=False), task("C", "B"))
    assert TicketState.ERRORED is given(workflow, *ran("A", Outcome.FAILED)).state
    assert TicketState.ERRORED is given(workflow, *errored("A")).state
    assert TicketState.CANCELLED is given(workflow, c.Cancel(tasks=("A",))).state


def test_an_optional_task_that_had_nothing_to_do_excuses_what_needs_it() -> None:
    workflow = opening(task("A", required=False), task("B", "A"))
    assert TicketState.PASSED is given(workflow, *ran("A", Outcome.SKIPPED)).state


def test_optional_tasks_after_an_optional_one_that_failed_are_no_one_s_loss() -> None:
    workflow = opening(task("A", required=False), task("B", "A", required=False), "C")
    assert TicketState.PASSED is given(workflow, *ran("A", Outcome.FAILED), *ran("C")).state


def test_a_held_task_is_skipped_when_what_it_needs_fails() -> None:
    held = given(opening("A", task("B", "A", held=True)), *working("A"))
    held.when(failed("A")).then(
        TaskFailed(task="A", token=4, outcome=Outcome.FAILED),
        TasksSkipped(tasks=("B",), because="A"),
        TicketFailed(),
    )


def test_what_a_task_takes_stays_in_the_workflow_for_its_worker() -> None:
    takes = (Takes(task="A", artifacts=("*.rpm", "logs/*")),)
    opened = given(opening("A", task("B", "A", takes=takes))).events[0]
    assert isinstance(opened, TicketOpened)
    assert takes == opened.tasks[1].takes


# --------------------------------------------------------------- of tasks that are added later


def test_an_added_task_that_needs_what_has_passed_is_ready() -> None:
    grown = given(opening("A", "B"), *ran("A"), adding(task("C", "A"), task("D", "C")))
    assert (TaskState.READY, TaskState.BLOCKED) == (grown.tasks["C"], grown.tasks["D"])
    assert (0, 1) == (grown.task("C").waiting, grown.task("D").waiting)


def test_an_added_task_that_needs_what_has_failed_is_skipped_at_once() -> None:
    grown = given(opening("A", "B"), *ran("A", Outcome.FAILED))
    _, *rest = grown.when(
        adding(task("E", "D"), task("C", "A"), task("D", "C", held=True), "F")
    ).events
    assert [
        TasksHeld(tasks=("D",)),
        TasksSkipped(tasks=("C", "D", "E"), because="A"),
        TasksReady(tasks=("F",)),
    ] == rest


def test_an_added_task_is_skipped_because_of_the_task_at_the_root() -> None:
    root = given(
        opening(task("A", required=False), task("B", "A", required=False), "C"),
        *ran("A", Outcome.FAILED),
        adding(task("D", "B")),
    )
    assert TasksSkipped(tasks=("D",), because="A") == root.events[-1]
    assert TicketState.ERRORED is root.after(*ran("C")).state


def test_an_added_task_is_skipped_with_the_same_verdict_as_one_that_was_there() -> None:
    roots = (
        ran("A", Outcome.FAILED),
        ran("A", Outcome.SKIPPED),
        errored("A"),
        (c.Cancel(tasks=("A",)),),
        (c.Cancel(tasks=("B",)),),
    )
    optional = (task("A", required=False), task("B", "A", required=False), "C")
    for root in roots:
        before = given(opening(*optional, task("D", "B")), *root, *ran("C"))
        after = given(opening(*optional), *root, adding(task("D", "B")), *ran("C"))
        assert before.tasks == after.tasks
        assert before.state == after.state


def test_the_worst_that_happened_is_what_the_ticket_ends_as() -> None:
    three = opening("A", "B", "C")
    cancel = (c.Cancel(tasks=("A",)),)
    assert TicketState.CANCELLED is given(three, *cancel, *ran("B"), *ran("C")).state
    assert TicketState.ERRORED is given(three, *cancel, *errored("B"), *ran("C")).state
    assert (
        TicketState.FAILED is given(three, *cancel, *errored("B"), *ran("C", Outcome.FAILED)).state
    )


def test_the_verdict_is_given_with_the_last_task() -> None:
    two = given(opening("A", "B"), *errored("A"), *working("B"))
    assert TicketState.RUNNING is two.state
    two.when(passed("B")).then(
        TaskPassed(task="B", token=two.task("B").attempts[0].token, outcome=Outcome.PASSED),
        TicketErrored(),
    )
    assert TaskErrored(task="A", token=3, execution=Execution.CONFIGURATION) in two.events
