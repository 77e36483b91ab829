"""The history: one sentence for every event, and nothing that the event says is lost."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from domain.envelope import Recorded
from domain.event import CommandNoted, Event
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.words import Artifact, Execution, Outcome, Precedence, Result
from domain.worker import events as w
from domain.workflow import Run, Source, Subject, Takes, TaskSpec, Timeouts
from projections.history import NAMED, History, Row, cancelled, duration, lines, rows, tokens
from tests.unit.given import (
    NOON,
    Fact,
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
    task,
    working,
)
from tests.unit.tables import Tables
from tests.unit.walks import Walk, play, take, walks

LATER = NOON + timedelta(days=2)
BODY = bytes.fromhex("c0de")

BUILD = TaskSpec(
    name="build",
    run=Run(kind="shell", parameters={"command": ["make", "rpm"]}),
    needs=("fetch", "deps"),
    takes=(Takes(task="fetch", artifacts=("*.tar", "*.sig")),),
    requires={"arch": ("s390x", "zvm"), "memory": ("16g",)},
    sources=(
        Source(kind="git", url="https://tower/src", revision="f00", parameters={"depth": 1}),
        Source(kind="archive", url="https://tower/data.tar"),
    ),
    retries=4,
    timeouts=Timeouts(queue=11.0, start=12.5, run=13.0, heartbeat=14.0),
    required=False,
    held=True,
)
BUILD_TOLD = (
    'task build: runs shell {"command":["make","rpm"]}; needs fetch, deps; '
    "takes *.tar, *.sig from fetch; requires arch s390x, zvm; requires memory 16g; "
    'source git https://tower/src at f00 {"depth":1}; source archive https://tower/data.tar; '
    "4 retries; queue 11 s, start 12.5 s, run 13 s, heartbeat 14 s; optional; held"
)

OPENED = e.TicketOpened(
    subject=Subject(
        kind="pull_request", project="tower", name="42", revision="c0ffee", url="https://tower/42"
    ),
    body=BODY,
    deadline=LATER,
    tasks=(BUILD,),
    labels={"team": "kernel"},
    priority=7,
    not_before=NOON,
    supersedes=Precedence(key="tower/42", order=99),
    sealed=False,
)

WHOLE_STORY: dict[str, Any] = {
    "execution": Execution.OK,
    "reason": "as ever",
    "results": (
        Result(
            testcase="boot", outcome=Outcome.FAILED, summary="panic", duration=1.5, log="logs/boot"
        ),
        Result(testcase="halt", outcome=Outcome.PASSED),
    ),
    "artifacts": (
        Artifact(name="tower.rpm", digest="sha256:ab", size=17, url="https://tower/rpm"),
        Artifact(name="tower.sig", digest="sha256:cd", size=3),
    ),
    "log": "logs/all",
}
WHOLE_STORY_TOLD = (
    "test boot: failed in 1.5 s: panic (log logs/boot)",
    "test halt: passed",
    "artifact tower.rpm: 17 bytes, sha256:ab, https://tower/rpm",
    "artifact tower.sig: 3 bytes, sha256:cd",
    "log logs/all",
)

CLAIMED = e.TaskClaimed(task="A", worker="w1", request="r1", lease=60.0)
"""Before each sentence below, as version 3: it is the attempt with the token 3."""

Sentence = tuple[Event, str, tuple[str, ...]]

SENTENCES: tuple[Sentence, ...] = (
    (
        OPENED,
        "opened for pull_request 42 of tower at c0ffee, with 1 task so far",
        (
            "https://tower/42",
            "label team: kernel",
            "supersedes older ones of tower/42, order 99",
            "priority 7, not before 2026-03-01 12:00:00.000 UTC, "
            "deadline 2026-03-03 12:00:00.000 UTC",
            BUILD_TOLD,
            "body c0de",
        ),
    ),
    (
        e.TasksAdded(tasks=(BUILD, task("B")), body=BODY, by_task="A"),
        "2 tasks added by task A",
        (
            BUILD_TOLD,
            "task B: runs shell; 2 retries; queue 86400 s, start 600 s, run 3600 s, heartbeat 60 s",
            "body c0de",
        ),
    ),
    (e.TicketSealed(), "sealed: the workflow is complete", ()),
    (e.PriorityChanged(priority=-5, reason="night"), "priority is now -5: night", ()),
    (e.TasksReady(tasks=("A", "B")), "ready: A, B", ()),
    (e.TasksHeld(tasks=("A", "B"), reason="freeze"), "held: A, B: freeze", ()),
    (e.TasksUnheld(tasks=("A",), reason="thaw"), "held no more: A: thaw", ()),
    (
        e.TaskClaimed(task="B", worker="w2", request="r2", lease=15.0),
        "B: attempt 1 (w2, token 4) claimed for 15 s, request r2",
        (),
    ),
    (e.TaskStarted(task="A", token=3), "A: attempt 1 (w1, token 3) started", ()),
    (
        e.LeaseLost(task="A", token=3, reason="the lease ran out"),
        "A: attempt 1 (w1, token 3) lost: the lease ran out",
        (),
    ),
    (
        e.ClaimReturned(task="A", token=3, reason="shutting down"),
        "A: attempt 1 (w1, token 3) handed back by its worker: shutting down",
        (),
    ),
    (
        e.ClaimRevoked(task="A", token=3, reason="needed elsewhere"),
        "A: attempt 1 (w1, token 3) taken from its worker: needed elsewhere",
        (),
    ),
    (
        e.TaskRetried(task="A", token=3, execution=Execution.INFRASTRUCTURE, reason="disk full"),
        "A: attempt 1 (w1, token 3) to be tried again (execution infrastructure): disk full",
        (),
    ),
    (
        e.TaskPassed(task="A", token=3, outcome=Outcome.INFO, **WHOLE_STORY),
        "A: attempt 1 (w1, token 3) passed (execution ok, outcome info): as ever",
        WHOLE_STORY_TOLD,
    ),
    (
        e.TaskFailed(task="A", token=3, outcome=Outcome.NEEDS_INSPECTION, **WHOLE_STORY),
        "A: attempt 1 (w1, token 3) failed (execution ok, outcome needs_inspection): as ever",
        WHOLE_STORY_TOLD,
    ),
    (
        e.TaskTimedOut(task="A", token=3, execution=Execution.TIMED_OUT),
        "A: attempt 1 (w1, token 3) timed out (execution timed_out)",
        (),
    ),
    (
        e.TaskSkipped(task="A", token=3, outcome=Outcome.SKIPPED, reason="docs only"),
        "A: attempt 1 (w1, token 3) skipped (execution ok, outcome skipped): docs only",
        (),
    ),
    (
        e.TaskErrored(task="A", token=3, execution=Execution.CONFIGURATION, reason="no such ref"),
        "A: attempt 1 (w1, token 3) errored (execution configuration): no such ref",
        (),
    ),
    (
        e.TasksSkipped(tasks=("B", "C"), because="A"),
        "skipped, since A did not pass: B, C",
        (),
    ),
    (
        e.TasksCancelled(tasks=("B", "A"), reason="asked for"),
        "cancelled: B, A: asked for",
        ("ends A: attempt 1 (w1, token 3)",),
    ),
    (e.AwaitedPassed(ticket="7"), "ticket 7 passed, for which it waited", ()),
    (
        e.TasksReset(tasks=("A", "B"), deadline=LATER, reason="flaky"),
        "to run anew: A, B: flaky",
        ("deadline 2026-03-03 12:00:00.000 UTC",),
    ),
    (
        e.ReportRefused(task="A", token=3),
        "A: attempt 1 (w1, token 3) reported too late and was refused: it was over",
        (),
    ),
    (e.TicketPassed(), "the ticket passed", ()),
    (e.TicketFailed(), "the ticket failed: a required task failed or ran too long", ()),
    (e.TicketErrored(), "the ticket errored: a required task could not be executed", ()),
    (e.TicketCancelled(reason="enough"), "the ticket was cancelled: enough", ()),
    (e.TicketSuperseded(by="10"), "the ticket was superseded by 10", ()),
    (e.TicketExpired(reason="too old"), "the ticket expired: too old", ()),
    (
        CommandNoted(version=3),
        "a command was accepted and changed nothing: version 3 had done what it asked for",
        (),
    ),
    (
        w.WorkerRegistered(
            session="s1", home="rack-2", capabilities={"arch": ("arm64", "arm32")}, slots=4
        ),
        "registered by session s1",
        ("4 slots, home rack-2", "has arch arm64, arm32"),
    ),
    (w.WorkerDraining(reason="new disks"), "draining: new disks", ()),
    (w.WorkerResumed(reason="done"), "available again: done", ()),
    (w.WorkerGone(session="s1", reason="it left"), "gone, with session s1: it left", ()),
)


def fact(event: Event, version: int = 4, time: datetime = NOON, actor: str = "a test") -> Recorded:
    return Recorded(
        id=UUID(int=version),
        originator_id="ticket/9",
        originator_version=version,
        event=event,
        time=time,
        actor=actor,
        causationid=UUID(int=100 + version),
        sequence=200 + version,
    )


def told(event: Event) -> Row:
    *_, row = rows([fact(CLAIMED, 3), fact(event)])
    return row


def history(*facts: Fact) -> list[str]:
    return [row.what for row in rows(given(*facts).history)]


def test_every_event_that_a_ticket_or_a_worker_can_have_has_a_sentence() -> None:
    assert {*e.EVENTS, *w.EVENTS, CommandNoted} == {type(event) for event, _, _ in SENTENCES}


@pytest.mark.parametrize(
    ("event", "what", "details"), SENTENCES, ids=lambda each: getattr(type(each), "topic", "")
)
def test_an_event_is_told(event: Event, what: str, details: tuple[str, ...]) -> None:
    row = told(event)
    assert (what, details) == (row.what, row.details)


def leaves(value: object) -> list[str]:
    match value:
        case dict():
            return [leaf for one in value.values() for leaf in leaves(one)]
        case list():
            return [leaf for one in value for leaf in leaves(one)]
        case str() if value[-1:] == "Z" and value[:2] == "20":
            return [value.removesuffix("Z").replace("T", " ")]
        case str():
            return [value]
        case bool() | None:
            return []
        case _:
            return [f"{value:g}"]


@pytest.mark.parametrize("event", [event for event, _, _ in SENTENCES], ids=lambda e: e.topic)
def test_nothing_that_an_event_says_is_lost(event: Event) -> None:
    row = told(event)
    text = "\n".join((row.what, *row.details))
    said = msgspec.json.decode(msgspec.json.encode(event))
    if "body" in said:
        said["body"] = BODY.hex()
    assert [] == [leaf for leaf in leaves(said) if leaf not in text]


def test_an_event_without_a_reason_is_told_without_one() -> None:
    assert "held: A" == told(e.TasksHeld(tasks=("A",))).what
    assert "the ticket was cancelled" == told(e.TicketCancelled()).what
    assert "a command was accepted and changed nothing" == told(CommandNoted()).what


def test_an_event_that_nobody_knows_is_not_passed_over() -> None:
    class Unheard(Event, frozen=True):
        topic = "turnstile.unheard"

    with pytest.raises(TypeError, match="no sentence for Unheard"):
        told(Unheard())


# --------------------------------------------------------------------------------- the attempts


def test_the_attempts_of_a_task_are_numbered_and_tell_why_they_began() -> None:
    assert [
        "A: attempt 1 (w1, token 3) claimed for 60 s, request r1",
        "A: attempt 2 (w2, token 6) claimed for 60 s, request r1, after lease_lost",
        "A: attempt 3 (w3, token 9) claimed for 60 s, request r1, after task_retried",
    ] == [
        what
        for what in history(
            opening("A"),
            *working("A", "w1"),
            lose("A"),
            *working("A", "w2"),
            broke("A"),
            claim("A", "w3"),
        )
        if "claimed" in what
    ]


def test_each_task_counts_its_own_attempts() -> None:
    *_, first, second = history(opening("A", "B"), claim("A"), claim("B"))
    assert "A: attempt 1 (w1, token 3) claimed for 60 s, request r1" == first
    assert "B: attempt 1 (w1, token 4) claimed for 60 s, request r1" == second


def test_attempts_are_counted_on_after_a_rerun() -> None:
    *_, again = history(opening("A"), *ran("A", Outcome.FAILED), c.Rerun(), claim("A", "w2"))
    assert "A: attempt 2 (w2, token 9) claimed for 60 s, request r1, after tasks_reset" == again


def test_the_token_of_a_late_report_tells_whose_it_was() -> None:
    late = given(opening("A"), *working("A", "w1"), lose("A"), *working("A", "w2"))
    late.record((e.ReportRefused(task="A", token=3),), late.submit(passed("A", attempt=0)))
    *_, row = rows(late.after(passed("A")).history[:-1])
    assert "A: attempt 2 (w2, token 6) passed (execution ok, outcome passed)" == row.what
    refused = next(row for row in rows(late.history) if "too late" in row.what)
    assert "A: attempt 1 (w1, token 3) reported too late and was refused: it was over" == (
        refused.what
    )


def test_a_spent_budget_is_told_beside_the_loss_that_caused_it() -> None:
    lost, errored, _ = history(opening(task("A", retries=0)), *working("A"), lose("A"))[-3:]
    assert "A: attempt 1 (w1, token 3) lost: the lease ran out" == lost
    assert "A: errored (execution infrastructure): no retry is left of 0" == errored


def test_a_cancellation_names_only_the_attempts_under_way() -> None:
    cancelled = given(
        opening("A", "B", "C"), *working("A"), report("A", Outcome.PASSED), claim("B"), c.Cancel()
    )
    row = next(row for row in rows(cancelled.history) if row.what.startswith("cancelled"))
    assert ("ends B: attempt 1 (w1, token 6)",) == row.details


def test_a_history_without_its_beginning_is_told_all_the_same() -> None:
    (row,) = rows([fact(e.TaskStarted(task="A", token=3))])
    assert "A: attempt with token 3 started" == row.what


# ----------------------------------------------------------------------------------- the others


def test_a_row_tells_when_and_who_and_because_of_which_command() -> None:
    first, second = rows(
        [
            fact(CLAIMED, 3, NOON, "worker/w1"),
            fact(e.TaskStarted(task="A", token=3), 4, NOON + timedelta(seconds=3), "worker/w1"),
        ]
    )
    assert (NOON, None) == (first.time, first.since)
    assert (NOON + timedelta(seconds=3), timedelta(seconds=3)) == (second.time, second.since)
    assert (4, "worker/w1", UUID(int=4), UUID(int=104), 204) == (
        second.version,
        second.actor,
        second.id,
        second.command,
        second.sequence,
    )


def test_many_tasks_are_named_in_the_details() -> None:
    names = tuple(f"t{n}" for n in range(NAMED + 1))
    row = told(e.TasksReady(tasks=names))
    assert "ready: t0, t1, t2, t3, t4 and 2 more" == row.what
    assert (", ".join(names),) == row.details
    assert () == told(e.TasksReady(tasks=names[:NAMED])).details


def test_a_reason_of_many_lines_goes_on_below_the_sentence() -> None:
    row = told(e.TicketExpired(reason="one\ntwo\nthree"))
    assert ("the ticket expired: one", ("two", "three")) == (row.what, row.details)


def test_nothing_in_a_row_moves_the_cursor_of_a_terminal() -> None:
    row = told(e.TicketExpired(reason="\x1b[2J\r\x9b1m\u202e"))
    assert r"the ticket expired: \x1b[2J\r\x9b1m\u202e" == row.what
    (by,) = rows([fact(e.TicketSealed(), actor="me\x9b2J")])
    assert r"me\x9b2J" == by.actor


def test_the_lines_of_a_history_are_aligned() -> None:
    over_night = given(
        opening("A"), timedelta(hours=11, seconds=5), claim("A"), timedelta(hours=2), failed("A")
    )
    told = [line for line in lines(list(rows(over_night.history))) if "  body " not in line]
    expected = """\
2026-03-01 (UTC)
12:00:00.000               1  a test  opened for commit main of tower at c0ffee, with 1 task
                                        priority 0, deadline 2026-03-08 12:00:00.000 UTC
                                        task A: runs shell; 2 retries; queue 86400 s, start 600 s, \
run 3600 s, heartbeat 60 s
12:00:00.000        +0 ms  2  a test  ready: A
23:00:05.000  +11 h 0 min  3  a test  A: attempt 1 (w1, token 3) claimed for 60 s, request r1
2026-03-02 (UTC)
01:00:05.000   +2 h 0 min  4  a test  A: attempt 1 (w1, token 3) started
01:00:05.000        +0 ms  5  a test  A: attempt 1 (w1, token 3) failed (execution ok, \
outcome failed)
01:00:05.000        +0 ms  6  a test  the ticket failed: a required task failed or ran too long\
"""
    assert expected.splitlines() == told


def test_an_empty_history_has_no_lines() -> None:
    assert [] == list(lines([]))


def test_times_are_told_in_utc() -> None:
    summer = datetime.fromisoformat("2026-07-01T01:30:00+02:00")
    assert "2026-06-30 (UTC)" == next(lines(list(rows([fact(e.TicketSealed(), time=summer)]))))
    assert UTC is NOON.tzinfo


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (0.0263, "26 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (86_399.6, "1 d 0 h"),
        (1e6, "11 d 13 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, expected: str) -> None:
    assert expected == duration(timedelta(seconds=seconds))


# --------------------------------------------------------------------------- from the middle


@hypothesis.given(walks(), st.integers(1, 1_000), st.integers(1, 20))
def test_a_part_is_told_as_the_whole_is(walk: Walk, place: int, size: int) -> None:
    ticket = Given()
    for ticket, submitted in play(walk):
        take(ticket, submitted)
    cancellations = [one for one in ticket.history if isinstance(one.event, e.TasksCancelled)]
    hypothesis.assume(len(ticket.history) > 1)
    # Which of two of one instant ended an attempt its row does not say.
    hypothesis.assume(len(cancelled(cancellations)) == len(cancellations))
    whole = list(rows(ticket.history))
    first = 1 + place % (len(whole) - 1)
    part = ticket.history[first : first + size]
    tables = Tables()
    tables.follow([ticket.history])
    of = [
        row
        for row in tables.attempts.values()
        if row.token in tokens(part)
        or (row.ended == "tasks_cancelled" and row.ended_at in cancelled(part))
    ]
    told = History(ticket.history[first - 1].time, of)
    assert whole[first : first + size] == [told.tell(one) for one in part]
