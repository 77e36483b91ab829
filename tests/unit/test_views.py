"""The views of tickets say what the tickets are, however they are folded."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import hypothesis
from hypothesis import strategies as st

from domain.envelope import Recorded
from domain.errors import StaleToken
from domain.ticket import commands as c
from domain.ticket.automata import AT_WORK, TASK, TICKET, WAITING, TaskState
from domain.ticket.events import ReportRefused
from domain.ticket.words import Artifact, Outcome, Result, Scope
from projections.queue import AGEING, class_of
from projections.rows import Attempt, Task, Ticket
from projections.tickets import COUNTED, FOLD, Unknown, Views
from tests.unit.given import (
    NOON,
    Given,
    broke,
    claim,
    failed,
    given,
    lose,
    opening,
    passed,
    ran,
    report,
    start,
    task,
    working,
)
from tests.unit.tables import Tables
from tests.unit.walks import Walk, play, take, walks

T = TaskState
MINUTE = timedelta(minutes=1)


def seen(ticket: Given) -> Tables:
    tables = Tables()
    tables.follow([ticket.history])
    return tables


def row(ticket: Given) -> Ticket:
    return seen(ticket).tickets["9"]


def task_row(ticket: Given, name: str = "A") -> Task:
    return seen(ticket).tasks["9", name]


def attempt_rows(ticket: Given) -> list[Attempt]:
    return list(seen(ticket).attempts.values())


def walked(walk: Walk) -> Given:
    ticket = Given()
    for ticket, submitted in play(walk):
        take(ticket, submitted)
    return ticket


def cut(history: Sequence[Recorded], places: Sequence[int]) -> list[Sequence[Recorded]]:
    edges = sorted({place % (len(history) + 1) for place in places} | {0, len(history)})
    return [history[start:end] for start, end in pairwise(edges)]


# --------------------------------------------------------------------------------- any history


@hypothesis.given(walks())
def test_the_rows_say_what_the_ticket_is(walk: Walk) -> None:
    ticket = walked(walk)
    tables = seen(ticket)
    if not ticket.history:
        assert {} == tables.tickets
        return
    folded, seen_as = ticket.ticket, tables.tickets["9"]
    assert folded.state == seen_as.state
    assert (folded.priority, folded.sealed, folded.deadline, folded.waits_for) == (
        seen_as.priority,
        seen_as.sealed,
        seen_as.deadline,
        seen_as.waits_for,
    )
    assert ticket.stream.version == seen_as.version
    assert ticket.tasks == {name: row.state for (_, name), row in tables.tasks.items()}
    for name, one in folded.tasks.items():
        shown = tables.tasks["9", name]
        assert (one.since, len(one.attempts), one.because) == (
            shown.since,
            shown.attempts,
            shown.because,
        )
        assert (shown.rank is not None) == (one.state is T.READY)
        for number, attempt in enumerate(one.attempts, start=1):
            written = tables.attempts["9", attempt.token]
            assert (name, number) == (written.task, written.number)
            assert (
                attempt.worker,
                attempt.created,
                attempt.claimed_at,
                attempt.started_at,
                attempt.ended,
                attempt.execution,
                attempt.outcome,
                attempt.refused,
            ) == (
                written.worker,
                written.created,
                written.claimed_at,
                written.started_at,
                written.ended,
                written.execution,
                written.outcome,
                written.refused,
            )


@hypothesis.given(walks())
def test_the_counts_of_a_ticket_are_those_of_its_tasks(walk: Walk) -> None:
    tables = seen(walked(walk))
    for shown in tables.tickets.values():
        states = Counter(row.state for row in tables.tasks.values())
        assert shown.tasks == states.total()
        assert shown.waiting == sum(states[state] for state in WAITING)
        assert shown.working == sum(states[state] for state in AT_WORK)
        assert (shown.passed, shown.errored) == (states[T.PASSED], states[T.ERRORED])
        assert shown.failed == states[T.FAILED] + states[T.TIMED_OUT]
        assert shown.dropped == states[T.SKIPPED] + states[T.CANCELLED]


@hypothesis.given(walks(), st.lists(st.integers(0, 1_000), max_size=8))
def test_it_is_all_one_into_which_batches_the_events_are_cut(walk: Walk, places: list[int]) -> None:
    ticket = walked(walk)
    expected = seen(ticket)
    for forgetful in (False, True):
        tables = Tables()
        tables.follow(cut(ticket.history, places), forgetful=forgetful)
        assert vars(expected) == vars(tables)


def test_of_a_large_ticket_only_what_changes_is_loaded_and_written() -> None:
    ticket = given(opening(*(f"task-{n}" for n in range(1_000))))
    tables, before = seen(ticket), len(ticket.history)
    ticket.after(*working("task-7"))
    views, events = Views(0), ticket.history[before:]
    unknown = views.unknown(events)
    assert Unknown({"9"}, {("9", "task-7")}, set()) == unknown
    views.load(tables.load(unknown))
    for event in events:
        views.fold(event)
    changes = views.changes()
    assert ["task-7"] == [row.task for row in changes.tasks]
    assert (999, 1) == (changes.tickets[0].waiting, changes.tickets[0].working)
    assert not views.unknown(events)


def test_a_priority_needs_what_is_in_the_queue() -> None:
    ticket = given(opening("A", task("B", "A")), c.ChangePriority(priority=3))
    unknown = Views(0).unknown(ticket.history[-1:])
    assert Unknown({"9"}, set(), {"9"}) == unknown


# ------------------------------------------------------------------------------------ the queue


def test_a_task_waits_from_when_it_is_ready() -> None:
    ticket = given(opening("A", task("B", "A")), MINUTE, *working("A"), MINUTE, passed("A"))
    assert NOON + 2 * MINUTE == task_row(ticket, "B").ready_at
    assert (NOON + 2 * MINUTE).timestamp() == task_row(ticket, "B").rank


def test_priority_is_worth_a_time() -> None:
    waiting = given(opening("A"), c.ChangePriority(priority=3))
    assert NOON.timestamp() - 3 * AGEING == task_row(waiting).rank
    later = given(opening("A", task("B", "A"), priority=3), MINUTE, *ran("A"))
    assert (NOON + MINUTE).timestamp() - 3 * AGEING == task_row(later, "B").rank


def test_who_loses_its_worker_keeps_its_place() -> None:
    ticket = given(opening("A"), MINUTE, claim("A"), MINUTE, lose("A"))
    assert (T.READY, NOON.timestamp()) == (task_row(ticket).state, task_row(ticket).rank)
    again = ticket.after(*working("A"), broke("A"))
    assert NOON.timestamp() == task_row(again).rank


def test_a_rerun_waits_anew() -> None:
    ticket = given(opening("A"), *ran("A"), MINUTE, c.Rerun(scope=Scope.TICKET))
    assert (NOON + MINUTE).timestamp() == task_row(ticket).rank


def test_what_is_claimed_waits_no_more() -> None:
    assert task_row(given(opening("A"), claim("A"))).rank is None


def test_the_class_of_requirements_knows_no_order() -> None:
    one = class_of({"arch": ("x86_64",), "has": ("kvm", "usb")})
    assert one == class_of({"has": ("usb", "kvm", "usb"), "arch": ("x86_64",), "os": ()})
    assert one != class_of({"has": ("usb",), "arch": ("x86_64",)})
    assert class_of({}) == class_of({"os": ()})


# -------------------------------------------------------------------------------------- details


def test_the_results_of_an_attempt_are_rows_with_its_artifacts_and_log() -> None:
    told = report(
        "A",
        Outcome.FAILED,
        results=(Result("one", Outcome.PASSED), Result("two", Outcome.FAILED, "no", 1.5, "log#2")),
        artifacts=(Artifact("log", "sha256:00", 3),),
        log="log#1",
        reason="two of them",
    )
    ticket = given(opening("A"), *working("A"), MINUTE, told)
    tables = seen(ticket)
    assert [("one", "passed", None), ("two", "failed", 1.5)] == [
        (row.testcase, row.outcome, row.duration) for row in tables.results.values()
    ]
    [attempt] = tables.attempts.values()
    assert ("log#1", "two of them", 1) == (attempt.log, attempt.reason, len(attempt.artifacts))
    assert (NOON + MINUTE, "task_failed") == (attempt.ended_at, attempt.ended)
    assert "two of them" == task_row(ticket).reason


def test_an_attempt_tells_why_it_began_and_ended() -> None:
    ticket = given(opening("A"), claim("A"), lose("A"), *working("A"), broke("A"), claim("A"))
    assert [
        ("opened", "lease_lost"),
        ("lease_lost", "task_retried"),
        ("task_retried", None),
    ] == [(attempt.created, attempt.ended) for attempt in attempt_rows(ticket)]


def test_a_late_report_shows_at_its_attempt() -> None:
    ticket = given(opening("A"), claim("A"), start("A"), lose("A"), claim("A"))
    left = (ReportRefused(task="A", token=3),)
    ticket.when(passed("A", attempt=0)).refused(StaleToken, leaves=left)
    assert [True, False] == [attempt.refused for attempt in attempt_rows(ticket)]


def test_a_ticket_tells_how_it_ended() -> None:
    cancelled = row(given(opening("A"), MINUTE, c.Cancel(reason="no more needed")))
    assert ("no more needed", NOON + MINUTE) == (cancelled.reason, cancelled.ended_at)
    superseded = row(given(opening("A"), c.Supersede(by="10")))
    assert "10" == superseded.superseded_by


def test_a_rerun_takes_back_that_it_ended() -> None:
    ticket = row(given(opening("A"), *working("A"), failed("A"), c.Rerun(scope=Scope.TICKET)))
    assert ("running", None) == (ticket.state, ticket.ended_at)


def test_every_state_has_its_count() -> None:
    assert set(TASK.states) - {T.ABSENT} == set(COUNTED)
    assert set(COUNTED.values()) <= set(Ticket.__struct_fields__)


def test_every_event_of_a_ticket_has_its_fold() -> None:
    assert TASK.events | TICKET.events == set(FOLD)
