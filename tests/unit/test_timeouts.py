"""Stages that last too long: queue, start, run. The timer only advises; the ticket looks again."""

from datetime import timedelta

import pytest

from domain.errors import NotAllowedNow, NotDue, StaleToken
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    LeaseLost,
    ReportRefused,
    TaskErrored,
    TaskPassed,
    TasksSkipped,
    TaskTimedOut,
    TicketErrored,
    TicketFailed,
    TicketPassed,
)
from domain.ticket.words import Execution, Limit, Outcome
from domain.workflow import Timeouts
from tests.unit.given import (
    NOON,
    Given,
    claim,
    given,
    hand_back,
    lose,
    opening,
    passed,
    report,
    start,
    task,
    time_out,
    working,
)

SECOND = timedelta(seconds=1)
TIMEOUTS = Timeouts(queue=100.0, start=10.0, run=60.0)
TIMED = task("A", timeouts=TIMEOUTS)
WORKFLOW = opening(TIMED, task("B", "A"))
QUEUE = c.TimeOut(task="A", limit=Limit.QUEUE)


def test_a_task_that_no_worker_claims_is_errored() -> None:
    given(WORKFLOW, 100 * SECOND).when(QUEUE).then(
        TaskErrored(
            task="A",
            execution=Execution.INFRASTRUCTURE,
            reason="no worker claimed it within 100 s",
        ),
        TasksSkipped(tasks=("B",), because="A"),
        TicketErrored(),
    ).when(QUEUE).then_nothing()


def test_an_attempt_that_does_not_start_is_lost_and_costs_no_retry() -> None:
    lost = (
        given(WORKFLOW, claim("A"), 10 * SECOND)
        .when(time_out("A", Limit.START))
        .then(LeaseLost(task="A", token=3, reason="it did not start within 10 s"))
    )
    assert (0, 1) == (lost.task("A").retried, lost.task("A").unstarted)
    lost.when(time_out("A", Limit.START)).then_nothing()


def test_an_attempt_that_runs_too_long_has_timed_out_and_is_not_tried_again() -> None:
    given(WORKFLOW, *working("A"), 60 * SECOND).when(time_out("A", Limit.RUN)).then(
        TaskTimedOut(
            task="A",
            token=3,
            execution=Execution.TIMED_OUT,
            reason="it ran longer than 60 s",
        ),
        TasksSkipped(tasks=("B",), because="A"),
        TicketFailed(),
    ).when(time_out("A", Limit.RUN)).then_nothing()


@pytest.mark.parametrize(
    ("at", "limit", "seconds"),
    [
        (given(WORKFLOW), QUEUE, 100),
        (given(WORKFLOW, claim("A")), time_out("A", Limit.START), 10),
        (given(WORKFLOW, *working("A")), time_out("A", Limit.RUN), 60),
    ],
    ids=["queue", "start", "run"],
)
def test_nothing_times_out_too_early(at: Given, limit: c.TimeOut, seconds: int) -> None:
    at.now = NOON + seconds * SECOND - timedelta(microseconds=1)
    at.when(limit).refused(NotDue, match="The .+ timeout runs out at .+, and it is only")


def test_the_time_in_the_queue_begins_anew_with_each_return() -> None:
    waiting = given(WORKFLOW, 90 * SECOND, claim("A"), hand_back("A"), 99 * SECOND)
    waiting.when(QUEUE).refused(NotDue)
    waiting.now += SECOND
    assert TaskErrored is type(waiting.when(QUEUE).events[0])


def test_the_time_in_the_queue_begins_when_the_ticket_may() -> None:
    later = given(opening(TIMED, not_before=NOON + 50 * SECOND), 149 * SECOND)
    later.when(QUEUE).refused(NotDue)
    later.now += SECOND
    assert TaskErrored is type(later.when(QUEUE).events[0])


def test_what_is_blocked_or_held_is_not_in_the_queue() -> None:
    waiting = given(opening(TIMED, task("B", "A", timeouts=TIMEOUTS)), c.Hold(tasks=("A",)))
    waiting.now += timedelta(days=1)
    waiting.when(QUEUE).then_nothing()
    waiting.when(c.TimeOut(task="B", limit=Limit.QUEUE)).then_nothing()


def test_a_claim_that_is_decided_first_wins_over_the_queue_timeout() -> None:
    claimed = given(WORKFLOW, 100 * SECOND, claim("A"))
    claimed.when(QUEUE).then_nothing()
    assert TaskState.CLAIMED is claimed.tasks["A"]


def test_a_start_that_is_decided_first_wins_over_the_start_timeout() -> None:
    started = given(WORKFLOW, claim("A"), 10 * SECOND, start("A"))
    started.when(time_out("A", Limit.START)).then_nothing()
    assert TaskState.RUNNING is started.tasks["A"]


def test_a_report_that_is_decided_first_wins_over_the_run_timeout() -> None:
    reported = given(opening(TIMED), *working("A"), 60 * SECOND, passed("A"))
    reported.when(time_out("A", Limit.RUN)).then_nothing()
    assert TicketState.PASSED is reported.state


def test_a_timeout_that_is_decided_first_wins_over_the_report() -> None:
    over = given(opening(TIMED), *working("A"), 60 * SECOND, time_out("A", Limit.RUN))
    over.when(passed("A")).refused(StaleToken, leaves=(ReportRefused(task="A", token=3),))
    assert TicketState.FAILED is over.state


def test_a_worker_that_found_the_timeout_itself_agrees_with_the_timer() -> None:
    over = given(opening(TIMED), *working("A"), 60 * SECOND, time_out("A", Limit.RUN))
    over.when(report("A", None, Execution.TIMED_OUT)).then_nothing()


def test_a_timeout_of_an_earlier_attempt_does_not_touch_the_present_one() -> None:
    other = given(WORKFLOW, *working("A"), lose("A"), *working("A"), 60 * SECOND)
    other.when(time_out("A", Limit.RUN, attempt=0)).then_nothing()
    assert TaskState.RUNNING is other.tasks["A"]


def test_the_time_to_run_begins_with_the_start() -> None:
    slow = given(WORKFLOW, claim("A"), 9 * SECOND, start("A"), 59 * SECOND)
    slow.when(time_out("A", Limit.RUN)).refused(NotDue)


def test_what_has_not_started_does_not_run_too_long() -> None:
    given(WORKFLOW, claim("A"), 60 * SECOND).when(time_out("A", Limit.RUN)).refused(
        NotAllowedNow, match="Task 'A' is claimed: it has not started"
    )


@pytest.mark.parametrize("limit", [Limit.START, Limit.RUN])
def test_start_and_run_name_the_attempt(limit: Limit) -> None:
    given(WORKFLOW, *working("A")).when(c.TimeOut(task="A", limit=limit)).refused(StaleToken)


def test_a_report_that_comes_before_the_timer_says_what_it_says() -> None:
    given(opening(TIMED), *working("A"), 61 * SECOND).when(passed("A")).then(
        TaskPassed(task="A", token=3, outcome=Outcome.PASSED), TicketPassed()
    )
