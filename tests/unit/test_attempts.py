"""An attempt: claimed, started, lost, handed back, taken away. The token decides, nothing else."""

import pytest

from domain.errors import NotCapable, NotReady, StaleToken, UnknownTask
from domain.event import CommandNoted
from domain.ticket import commands as c
from domain.ticket.attempts import MAX_UNSTARTED
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    ClaimReturned,
    ClaimRevoked,
    LeaseLost,
    ReportRefused,
    TaskClaimed,
    TaskErrored,
    TaskPassed,
    TaskRetried,
    TasksSkipped,
    TaskStarted,
    TicketErrored,
    TicketPassed,
)
from domain.ticket.words import Execution, Outcome
from domain.workflow import Timeouts
from tests.unit.given import (
    NOON,
    Fact,
    broke,
    claim,
    failed,
    given,
    hand_back,
    lose,
    opening,
    passed,
    ran,
    report,
    revoke,
    start,
    task,
    working,
)

# In a ticket of one task: 1 opened, 2 ready, 3 claimed (so 3 is the first token), 4 started.


def test_a_ready_task_is_claimed_for_the_length_of_its_lease() -> None:
    given(opening(task("A", timeouts=Timeouts(heartbeat=15.0)))).when(claim("A", "w7", "r9")).then(
        TaskClaimed(task="A", worker="w7", request="r9", lease=15.0)
    )


def test_the_token_is_the_version_of_the_claim() -> None:
    claimed = given(opening("A"), claim("A"))
    (attempt,) = claimed.task("A").attempts
    assert 3 == attempt.token
    assert claimed.task("A").holds(3)


def test_an_attempt_tells_its_worker_its_times_and_why_it_began() -> None:
    (attempt,) = given(opening("A"), *working("A", "w7")).task("A").attempts
    assert ("w7", "r1", 60.0) == (attempt.worker, attempt.request, attempt.lease)
    assert (NOON, NOON, "opened") == (attempt.claimed_at, attempt.started_at, attempt.created)
    assert (None, None, None) == (attempt.ended, attempt.execution, attempt.outcome)


def test_the_same_request_gets_the_same_attempt() -> None:
    claimed = given(opening("A"), claim("A", "w1", "r1"))
    claimed.when(claim("A", "w1", "r1")).then(CommandNoted(version=3))


def test_the_same_request_is_answered_with_the_same_token() -> None:
    assert 3 == given(opening("A"), claim("A")).when(claim("A")).answer
    assert 3 == given(opening("A"), *working("A")).when(claim("A")).answer


def test_a_task_is_claimed_once() -> None:
    claimed = given(opening("A"), claim("A", "w1", "r1"))
    claimed.when(claim("A", "w1", "r2")).refused(NotReady, match="it is claimed")
    claimed.when(claim("A", "w2", "r1")).refused(NotReady, match="it is claimed")


def test_what_has_ended_is_not_claimed() -> None:
    given(opening("A"), *ran("A")).when(claim("A")).refused(NotReady, match="it is passed")


def test_an_unknown_task_is_not_claimed() -> None:
    given(opening("A")).when(claim("X")).refused(
        UnknownTask, field="task", match="the ticket has no task 'X'"
    )


def test_a_worker_that_is_not_capable_is_refused_with_what_it_lacks() -> None:
    opened = given(opening(task("A", requires={"arch": ("s390x",)})))
    opened.when(claim("A", capabilities={"arch": ("x86_64",)})).refused(
        NotCapable, match=r"'w1' lacks what task 'A' requires of 'arch': \['s390x'\]"
    )
    opened.when(claim("A", capabilities={"arch": ("s390x", "s390")})).then(
        TaskClaimed(task="A", worker="w1", request="r1", lease=60.0)
    )


def test_a_claimed_task_starts_and_with_it_the_ticket() -> None:
    started = given(opening("A"), claim("A")).when(start("A")).then(TaskStarted(task="A", token=3))
    assert {"A": TaskState.RUNNING} == started.tasks
    assert TicketState.RUNNING is started.state


def test_to_start_again_changes_nothing() -> None:
    given(opening("A"), *working("A")).when(start("A")).then_nothing()


def test_a_lost_lease_gives_the_task_to_another() -> None:
    lost = (
        given(opening("A"), claim("A"))
        .when(lose("A"))
        .then(LeaseLost(task="A", token=3, reason="the lease ran out"))
    )
    assert {"A": TaskState.READY} == lost.tasks
    again = lost.when(claim("A", "w2")).then(
        TaskClaimed(task="A", worker="w2", request="r1", lease=60.0)
    )
    first, second = again.task("A").attempts
    assert ("opened", "lease_lost") == (first.created, first.ended)
    assert ("lease_lost", None) == (second.created, second.ended)


def test_a_lease_is_lost_once() -> None:
    given(opening("A"), claim("A"), lose("A")).when(lose("A")).then_nothing()


def test_a_worker_hands_a_task_back() -> None:
    given(opening("A"), *working("A")).when(hand_back("A", reason="shutting down")).then(
        ClaimReturned(task="A", token=3, reason="shutting down")
    ).when(hand_back("A")).then_nothing()


def test_somebody_takes_a_task_away() -> None:
    given(opening("A"), *working("A")).when(revoke("A", reason="needed elsewhere")).then(
        ClaimRevoked(task="A", token=3, reason="needed elsewhere")
    ).when(revoke("A")).then_nothing()


def test_every_end_of_an_attempt_says_why() -> None:
    for step, word in (
        (lose("A"), "lease_lost"),
        (hand_back("A"), "claim_returned"),
        (revoke("A"), "claim_revoked"),
        (broke("A"), "task_retried"),
        (passed("A"), "task_passed"),
        (failed("A"), "task_failed"),
        (c.Cancel(), "tasks_cancelled"),
        (c.Cancel(tasks=("A",)), "tasks_cancelled"),
    ):
        assert word == given(opening("A"), *working("A"), step).task("A").attempts[0].ended


# ------------------------------------------------------------------------------------- fencing

STALE: tuple[Fact, ...] = (
    lose("A"),
    hand_back("A"),
    revoke("A"),
    broke("A"),
    c.Cancel(),
)
stale = pytest.mark.parametrize("over", STALE, ids=["lost", "back", "revoked", "broke", "cancel"])


@stale
def test_a_late_start_is_fenced_off(over: Fact) -> None:
    given(opening("A"), *working("A"), over).when(start("A")).refused(StaleToken)


@stale
def test_a_late_report_is_fenced_off_and_history_tells_it_once(over: Fact) -> None:
    ended = given(opening("A"), *working("A"), over)
    again = ended.when(passed("A")).refused(
        StaleToken,
        match="Token 3 is not that of the present attempt of task 'A'",
        leaves=(ReportRefused(task="A", token=3),),
    )
    again.when(passed("A")).refused(StaleToken)
    again.when(failed("A")).refused(StaleToken)


def test_a_late_report_is_fenced_off_also_while_another_works() -> None:
    other = given(opening("A"), *working("A", "w1"), lose("A"), *working("A", "w2"))
    other.when(passed("A", attempt=0)).refused(
        StaleToken, leaves=(ReportRefused(task="A", token=3),)
    ).when(passed("A")).then(TaskPassed(task="A", token=6, outcome=Outcome.PASSED), TicketPassed())


def test_each_attempt_has_its_own_refused_report() -> None:
    twice = given(opening("A"), *working("A"), lose("A"), *working("A"), lose("A"))
    twice.when(passed("A", attempt=0)).refused(
        StaleToken, leaves=(ReportRefused(task="A", token=3),)
    ).when(passed("A", attempt=1)).refused(
        StaleToken, leaves=(ReportRefused(task="A", token=6),)
    ).when(passed("A", attempt=0)).refused(StaleToken)


def test_history_tells_of_a_late_report_also_after_the_ticket_is_superseded() -> None:
    given(opening("A"), *working("A"), c.Supersede(by="10")).when(passed("A")).refused(
        StaleToken, leaves=(ReportRefused(task="A", token=3),)
    )


@pytest.mark.parametrize("token", [1, 2, 4, 99, 2**63 - 1])
def test_a_token_that_is_no_claim_is_refused_without_a_trace(token: int) -> None:
    running = given(opening("A"), *working("A"))
    for command in (
        c.Start(task="A", token=token),
        c.LoseLease(task="A", token=token),
        c.Report(task="A", token=token, outcome=Outcome.PASSED),
        c.ReturnClaim(task="A", token=token),
        c.Revoke(task="A", token=token),
    ):
        running.when(command).refused(StaleToken, match=f"Token {token} ")


def test_the_token_of_another_task_is_refused() -> None:
    both = given(opening("A", "B"), *working("A"), *working("B"))
    token = both.task("B").attempts[0].token
    both.when(c.Report(task="A", token=token, outcome=Outcome.PASSED)).refused(StaleToken)
    both.when(c.Start(task="A", token=token)).refused(StaleToken)


def test_to_lose_a_lease_that_is_over_changes_nothing_for_its_successor() -> None:
    other = given(opening("A"), *working("A"), lose("A"), *working("A"))
    other.when(lose("A", attempt=0)).then_nothing()
    other.when(revoke("A", attempt=0)).then_nothing()
    assert other.task("A").at_work


def test_to_hand_back_what_was_taken_away_is_refused() -> None:
    given(opening("A"), *working("A"), revoke("A")).when(hand_back("A")).refused(StaleToken)


def test_an_accepted_report_is_repeated_with_success() -> None:
    for ending in (passed("A"), failed("A"), broke("A"), report("A", Outcome.SKIPPED)):
        given(opening("A"), *working("A"), ending).when(ending).then_nothing()


def test_an_accepted_report_is_repeated_with_success_after_another_attempt_began() -> None:
    retried = given(opening("A"), *working("A"), broke("A"), *working("A"))
    retried.when(broke("A", attempt=0)).then_nothing()
    assert retried.task("A").at_work


def test_an_accepted_report_is_not_changed_by_another() -> None:
    given(opening("A"), *ran("A")).when(failed("A")).refused(
        StaleToken, leaves=(ReportRefused(task="A", token=3),)
    )


# ------------------------------------------------------------------------------------- budgets


def lost(times: int, *, started: bool = True) -> tuple[Fact, ...]:
    return ((*working("A"), lose("A")) if started else (claim("A"), lose("A"))) * times


def test_a_task_is_tried_again_as_often_as_its_budget_says() -> None:
    tried = given(opening(task("A", retries=2)), *lost(2), *working("A"))
    token = tried.task("A").attempts[-1].token
    tried.when(lose("A")).then(
        LeaseLost(task="A", token=token, reason="the lease ran out"),
        TaskErrored(task="A", execution=Execution.INFRASTRUCTURE, reason="no retry is left of 2"),
        TicketErrored(),
    )
    assert {"A": TaskState.ERRORED} == tried.tasks
    assert "lease_lost" == tried.task("A").attempts[-1].ended


def test_without_retries_the_first_loss_is_the_last() -> None:
    once = given(opening(task("A", retries=0)), *working("A"), lose("A"))
    assert {"A": TaskState.ERRORED} == once.tasks
    assert TicketState.ERRORED is once.state


def test_losses_and_infrastructure_reports_spend_one_budget() -> None:
    tried = given(opening(task("A", retries=2)), *lost(1), *working("A"), broke("A"))
    assert {"A": TaskState.READY} == tried.tasks
    tried.when(claim("A")).then(TaskClaimed(task="A", worker="w1", request="r1", lease=60.0))
    tried.when(broke("A", reason="disk full")).then(
        TaskErrored(
            task="A",
            token=tried.task("A").attempts[-1].token,
            execution=Execution.INFRASTRUCTURE,
            reason="disk full",
        ),
        TicketErrored(),
    )


def test_an_exhausted_budget_skips_what_needs_the_task() -> None:
    tried = given(opening(task("A", retries=0), task("B", "A")), *working("A"))
    assert [TasksSkipped(tasks=("B",), because="A"), TicketErrored()] == [
        *tried.when(lose("A")).events[-2:]
    ]


def test_an_attempt_that_never_started_costs_no_retry() -> None:
    tried = given(opening(task("A", retries=0)), *lost(3, started=False))
    assert {"A": TaskState.READY} == tried.tasks
    assert (0, 3) == (tried.task("A").retried, tried.task("A").unstarted)


def test_attempts_that_never_start_have_a_cap_of_their_own() -> None:
    tried = given(opening(task("A", retries=0)), *lost(MAX_UNSTARTED, started=False), claim("A"))
    *_, errored, ended = tried.when(lose("A")).events
    assert isinstance(errored, TaskErrored)
    assert "more than 10 attempts never started or were handed back" == errored.reason
    assert TicketErrored() == ended


def test_a_task_is_not_handed_back_for_ever() -> None:
    back: tuple[Fact, ...] = (claim("A"), hand_back("A"))
    tried = given(opening(task("A", retries=0)), *back * MAX_UNSTARTED)
    assert {"A": TaskState.READY} == tried.tasks
    last = given(opening(task("A", retries=0)), *back * MAX_UNSTARTED, *back)
    assert {"A": TaskState.ERRORED} == last.tasks
    last.when(hand_back("A")).then_nothing()


def test_what_a_person_takes_away_costs_nothing() -> None:
    away: tuple[Fact, ...] = (*working("A"), revoke("A"))
    taken = given(opening(task("A", retries=0)), *away * (MAX_UNSTARTED + 2))
    assert {"A": TaskState.READY} == taken.tasks
    assert (0, 0) == (taken.task("A").retried, taken.task("A").unstarted)


def test_a_retry_says_so() -> None:
    given(opening("A"), *working("A")).when(broke("A", reason="no route to host")).then(
        TaskRetried(
            task="A",
            token=3,
            execution=Execution.INFRASTRUCTURE,
            reason="no route to host",
        )
    )


def test_a_rerun_gives_a_new_budget() -> None:
    again = given(opening(task("A", retries=1)), *lost(2), c.Rerun())
    assert (0, 0) == (again.task("A").retried, again.task("A").unstarted)
    assert 2 == len(again.task("A").attempts)
