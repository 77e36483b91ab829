"""A report: did the attempt *run*, and what did the test *say*? Three kinds of bad news."""

import pytest

from domain.errors import Invalid, UnknownTask
from domain.event import Event
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    TaskErrored,
    TaskFailed,
    TaskPassed,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskTimedOut,
    TicketErrored,
    TicketFailed,
    TicketPassed,
)
from domain.ticket.words import Artifact, Execution, Outcome, Result
from tests.unit.given import claim, failed, given, opening, passed, report, task, working


@pytest.mark.parametrize(
    ("outcome", "event", "state", "end"),
    [
        (Outcome.PASSED, TaskPassed, TaskState.PASSED, TicketPassed()),
        (Outcome.INFO, TaskPassed, TaskState.PASSED, TicketPassed()),
        (Outcome.FAILED, TaskFailed, TaskState.FAILED, TicketFailed()),
        (Outcome.NEEDS_INSPECTION, TaskFailed, TaskState.FAILED, TicketFailed()),
        (Outcome.SKIPPED, TaskSkipped, TaskState.SKIPPED, TicketPassed()),
    ],
)
def test_what_the_test_said_decides_if_it_ran(
    outcome: Outcome, event: type[Event], state: TaskState, end: Event
) -> None:
    first, second = given(opening("A"), *working("A")).when(report("A", outcome)).events
    assert (event, end) == (type(first), second)
    told = given(opening("A"), *working("A"), report("A", outcome))
    assert {"A": state} == told.tasks
    (attempt,) = told.task("A").attempts
    assert (Execution.OK, outcome) == (attempt.execution, attempt.outcome)


def test_a_failed_test_is_never_tried_again_by_itself() -> None:
    given(opening(task("A", retries=100)), *working("A")).when(failed("A")).then(
        TaskFailed(task="A", token=3, outcome=Outcome.FAILED), TicketFailed()
    )


def test_a_wrong_configuration_is_never_tried_again() -> None:
    given(opening(task("A", retries=100)), claim("A")).when(
        report("A", None, Execution.CONFIGURATION, reason="no such revision")
    ).then(
        TaskErrored(
            task="A", token=3, execution=Execution.CONFIGURATION, reason="no such revision"
        ),
        TicketErrored(),
    )


def test_a_failed_infrastructure_is_tried_again_until_the_budget_is_spent() -> None:
    broken = report("A", None, Execution.INFRASTRUCTURE)
    given(opening(task("A", retries=1)), *working("A")).when(broken).then(
        TaskRetried(task="A", token=3, execution=Execution.INFRASTRUCTURE)
    )
    given(opening(task("A", retries=0)), *working("A")).when(broken).then(
        TaskErrored(task="A", token=3, execution=Execution.INFRASTRUCTURE), TicketErrored()
    )


def test_infrastructure_that_fails_after_the_test_is_reported_as_such() -> None:
    upload = report("A", Outcome.PASSED, Execution.INFRASTRUCTURE, reason="upload failed")
    given(opening(task("A", retries=0)), *working("A")).when(upload).then(
        TaskErrored(
            task="A",
            token=3,
            execution=Execution.INFRASTRUCTURE,
            outcome=Outcome.PASSED,
            reason="upload failed",
        ),
        TicketErrored(),
    )


def test_a_test_that_ran_too_long_is_the_test_s_affair() -> None:
    given(opening(task("A", retries=100)), *working("A")).when(
        report("A", None, Execution.TIMED_OUT)
    ).then(TaskTimedOut(task="A", token=3, execution=Execution.TIMED_OUT), TicketFailed())


def test_an_attempt_that_ran_tells_what_its_test_said() -> None:
    given(opening("A"), *working("A")).when(report("A", None, Execution.OK)).refused(
        Invalid, field="outcome"
    )


def test_results_and_artifacts_are_kept_whole_in_the_event() -> None:
    results = (
        Result(testcase="unit", outcome=Outcome.PASSED, duration=1.5),
        Result(testcase="style", outcome=Outcome.INFO, summary="3 hints", log="logs/style"),
    )
    artifacts = (Artifact(name="tower.rpm", digest="sha256:00", size=12, url="store/00"),)
    given(opening("A"), *working("A")).when(
        passed("A", reason="fine", results=results, artifacts=artifacts, log="logs/1")
    ).then(
        TaskPassed(
            task="A",
            token=3,
            outcome=Outcome.PASSED,
            reason="fine",
            results=results,
            artifacts=artifacts,
            log="logs/1",
        ),
        TicketPassed(),
    )


def test_a_report_implies_the_start_whose_command_was_lost() -> None:
    given(opening("A"), claim("A")).when(passed("A")).then(
        TaskStarted(task="A", token=3),
        TaskPassed(task="A", token=3, outcome=Outcome.PASSED),
        TicketPassed(),
    )


@pytest.mark.parametrize("execution", [Execution.INFRASTRUCTURE, Execution.CONFIGURATION])
def test_what_went_wrong_before_the_start_implies_none(execution: Execution) -> None:
    told = given(opening(task("A", retries=0)), claim("A"), report("A", None, execution))
    assert None is told.task("A").attempts[0].started_at
    assert TicketState.ERRORED is told.state
    assert TaskStarted not in [type(event) for event in told.events]


def test_a_report_of_an_unknown_task_is_refused() -> None:
    given(opening("A")).when(c.Report(task="X", token=3, outcome=Outcome.PASSED)).refused(
        UnknownTask, field="task"
    )
