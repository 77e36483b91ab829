"""Which leases there are to be, as the log has it; and what a doctor finds about them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import hypothesis
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.postgres.leases import Gap, Look
from domain.envelope import Recorded, check
from domain.event import Event
from domain.policy import lost_lease, missed
from domain.ticket import commands as c
from domain.ticket.automata import AT_WORK
from domain.ticket.events import EVENTS, ReportRefused, TaskStarted
from domain.worker import events as w
from projections.leases import ENDS, Claimed, changes
from tests.unit.given import NOON, Given, claim, given, lose, opening, passed, working
from tests.unit.test_views import cut, walked
from tests.unit.walks import Walk, walks
from workers.findings import Level
from workers.lease_findings import examine_leases


class Rows:
    """The rows, as a database would have them."""

    def __init__(self) -> None:
        self.leases: dict[tuple[str, int], Claimed] = {}
        self.workers: dict[str, str] = {}

    def follow(self, batches: Iterable[Sequence[Recorded]]) -> "Rows":
        """Write what each batch changes, in the order in which it is written."""
        for batch in batches:
            changed = changes(batch)
            for key in changed.ended:
                self.leases.pop(key, None)
            for (ticket, task), version in changed.cancelled.items():
                for row in [row for row in self.leases.values() if row.ticket == ticket]:
                    if row.task == task and row.token < version:
                        del self.leases[row.ticket, row.token]
            for row in changed.claimed.values():
                self.leases.setdefault((row.ticket, row.token), row)
            for worker, session in changed.gone:
                if self.workers.get(worker) == session:
                    del self.workers[worker]
            self.workers |= changed.registered
        return self


def under_way(ticket: Given) -> dict[tuple[str, int], Claimed]:
    found = {}
    for name, task in ticket.ticket.tasks.items():
        if task.state in AT_WORK:
            last = task.attempts[-1]
            found["9", last.token] = Claimed(
                *("9", last.token, name, last.worker, last.request, task.timeouts.heartbeat)
            )
    return found


@hypothesis.given(walks(), st.lists(st.integers(0, 1_000), max_size=8))
def test_the_leases_are_those_of_the_attempts_under_way(walk: Walk, places: list[int]) -> None:
    ticket = walked(walk)
    assert under_way(ticket) == Rows().follow(cut(ticket.history, places)).leases


def test_whatever_ends_an_attempt_by_its_token_ends_its_lease() -> None:
    with_token = {kind for kind in EVENTS if "token" in kind.__struct_fields__}
    assert with_token - {TaskStarted, ReportRefused} == ENDS


def test_a_claim_that_is_over_in_the_same_batch_leaves_nothing() -> None:
    ticket = given(opening("A"), *working("A"), passed("A"))
    assert {} == changes(ticket.history).claimed


def test_what_is_claimed_after_a_cancellation_is_another_attempt() -> None:
    ticket = given(opening("A"), claim("A"), c.Cancel(), c.Rerun(), claim("A", request="r2"))
    changed = changes(ticket.history)
    [again] = changed.claimed.values()
    assert ("A", "r2") == (again.task, again.request)
    assert again.token > changed.cancelled["9", "A"]


def test_most_events_concern_no_lease() -> None:
    assert not changes(given(opening("A", "B"), c.Hold(), c.Unhold()).history)


def worked(*events: Event) -> list[Recorded]:
    [first, *_] = given(opening("A")).history
    return [replace(first, originator_id="worker/w1", event=event) for event in events]


def test_a_worker_is_to_be_heard_of_from_its_registration_until_it_is_gone() -> None:
    one = w.WorkerRegistered(session="s1", home="h")
    two = w.WorkerRegistered(session="s2", home="h")
    assert {"w1": "s2"} == Rows().follow([worked(one), worked(two)]).workers
    assert {} == Rows().follow([worked(one, w.WorkerGone(session="s1"))]).workers
    assert {} == Rows().follow([worked(one), worked(w.WorkerGone(session="s1"))]).workers
    again = [worked(one, w.WorkerGone(session="s1"), two)]
    assert {"w1": "s2"} == Rows().follow(again).workers


# ------------------------------------------------------------------------------------ policies


def test_a_lost_lease_is_told_again_and_again_as_the_same_command() -> None:
    one, again = (lost_lease("9", "A", 3, "the lease ran out") for _ in range(2))
    assert one == again
    assert one.id != lost_lease("9", "A", 7, "the lease ran out").id
    check(one)
    ticket = given(opening("A"), claim("A"))
    assert lose("A")(ticket.ticket) == lost_lease("9", "A", 3, "the lease ran out").command


def test_a_session_that_is_missed_twice_is_told_so_twice() -> None:
    one = missed("w1", "s1", NOON)
    assert ("worker/w1", "reaper") == (one.stream, one.actor)
    assert one == missed("w1", "s1", NOON)
    assert one.id != missed("w1", "s1", NOON + timedelta(minutes=1)).id
    check(one)


# ----------------------------------------------------------------------------------- the doctor

WELL = Look(open=3, first=20.0, late=-20.0, marked=0, marked_for=None, deaf=None, unwatched=None)
AT = datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)


def found(look: Look, *gaps: Gap) -> list[tuple[Level, str]]:
    return [(one.level, one.what) for one in examine_leases(look, gaps)]


def test_leases_that_are_kept_alive_are_well() -> None:
    assert [(Level.WELL, "3 leases are open; the first lasts 20.0 s more")] == found(WELL)
    assert [(Level.WELL, "no lease is open")] == found(replace(WELL, open=0, first=None, late=None))


def test_a_lease_that_nobody_ends_is_wrong() -> None:
    what = "3 leases are open; the first should have ended 1 min 30 s ago"
    assert [(Level.WRONG, what)] == found(replace(WELL, first=-90.0, late=90.0))
    kept = "3 leases are open; the first ran out 1 min 30 s ago"
    assert [(Level.WELL, kept)] == found(replace(WELL, first=-90.0, late=-5.0))
    [_, marked] = found(replace(WELL, marked=2, marked_for=45.0))
    what = "2 leases are lost, and their attempts not ended for 45.0 s"
    assert (Level.WRONG, what) == marked


def test_it_is_said_that_nobody_hears_and_that_nobody_looks() -> None:
    [_, deaf, unwatched] = found(replace(WELL, deaf=60.0, unwatched=90.0))
    what = "no API has taken heartbeats in for 1 min 0 s: no lease runs out"
    assert (Level.WATCH, what) == deaf
    assert (Level.WATCH, "no reaper has looked at leases for 1 min 30 s") == unwatched


def test_the_breaker_and_the_last_gap_of_each_kind_are_told() -> None:
    gaps = (
        Gap("breaker", AT, AT, 8, 20),
        Gap("hearing", AT - timedelta(seconds=9), AT, None, None),
        Gap("hearing", AT - timedelta(hours=9), AT - timedelta(hours=8), None, None),
    )
    [_, breaker, gap] = found(WELL, *gaps)
    what = "at 12:00:09 UTC 8 of 20 leases fell silent at once: none was ended"
    assert (Level.WATCH, what) == breaker
    what = (
        "until 12:00:09 UTC no API took heartbeats in for 9.0 s; "
        "leases have had their full time since"
    )
    assert (Level.WELL, what) == gap
