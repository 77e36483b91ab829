"""Who is next: the order of what waits, what is left to others, and how it is dealt out."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from adapters.work.polls import Poll, alone_with, avoided, deal
from domain.ticket import commands as c
from domain.worker.automata import WorkerState
from domain.workflow import Requirements
from projections.queue import AGEING, AVOID, Candidate, order, rank
from projections.workers import Worker
from tests.unit.given import NOON, Given, opening
from tests.unit.tables import Tables

MINUTE = timedelta(minutes=1)


def waits(
    task: str,
    rank: float = 0.0,
    *,
    worker: str | None = None,
    created: str = "ticket_opened",
    waited: float = 1.0,
    class_: str = "any",
) -> Candidate:
    return Candidate("9", task, "tower", class_, rank, worker, created, NOON, waited)


def worker(name: str, capabilities: Requirements | None = None) -> Worker:
    return Worker(
        worker=name,
        partition=0,
        state=WorkerState.AVAILABLE,
        session="s1",
        home=name,
        capabilities=capabilities or {},
        slots=1,
        registered_at=NOON,
        since=NOON,
    )


def named(candidates: Iterable[Candidate]) -> list[str]:
    return [one.task for one in candidates]


# ---------------------------------------------------------------------------------------- the rank


def test_a_step_of_priority_is_worth_a_time() -> None:
    assert rank(NOON, 1) == rank(NOON - timedelta(seconds=AGEING), 0)


def test_what_must_not_start_before_an_instant_waits_from_then_on() -> None:
    later = NOON + MINUTE
    assert rank(NOON, 0, later) == rank(later, 0)
    assert rank(NOON, 0, NOON - MINUTE) == rank(NOON, 0)


def test_the_view_ranks_a_ticket_for_later_behind_what_waits_by_then() -> None:
    tables = Tables()
    tables.follow([Given(opening("A", not_before=NOON + MINUTE)).history])
    assert tables.tasks["9", "A"].rank == (NOON + MINUTE).timestamp()


def test_a_change_of_priority_does_not_forget_the_instant() -> None:
    tables = Tables()
    later = opening("A", not_before=NOON + MINUTE)
    tables.follow([Given(later, c.ChangePriority(priority=1)).history])
    assert tables.tasks["9", "A"].rank == (NOON + MINUTE).timestamp() - AGEING


# --------------------------------------------------------------------------------------- the order


def test_the_lowest_rank_is_next_and_names_decide_between_equals() -> None:
    found = order([waits("late", 3), waits("b", 1), waits("a", 1)], "w1", ())
    assert ["a", "b", "late"] == named(found)


@pytest.mark.parametrize("created", ["task_retried", "lease_lost", "claim_returned"])
def test_what_a_worker_could_not_run_is_left_to_others(created: str) -> None:
    again = waits("A", 1, worker="w1", created=created)
    assert ["B"] == named(order([again, waits("B", 2)], "w1", ()))
    assert ["A", "B"] == named(order([again, waits("B", 2)], "w2", ()))


def test_it_is_left_to_others_for_a_while_only() -> None:
    again = waits("A", worker="w1", created="lease_lost", waited=AVOID)
    assert ["A"] == named(order([again], "w1", ()))


def test_a_worker_that_is_alone_with_a_class_leaves_nothing_of_it() -> None:
    again = waits("A", worker="w1", created="lease_lost")
    assert ["A"] == named(order([again], "w1", {"any"}))


def test_what_somebody_runs_again_is_nobody_s_misfortune() -> None:
    again = waits("A", worker="w1", created="tasks_reset")
    assert ["A"] == named(order([again], "w1", ()))


# ------------------------------------------------------------------------------- several who wait


async def test_who_waits_longer_is_dealt_first_and_nobody_gets_all() -> None:
    one, two = Poll(worker("w1"), "r1", 5, 0), Poll(worker("w2"), "r2", 2, 0)
    dealt = list(deal([waits(f"t{n}", n) for n in range(6)], [one, two], {}))
    assert ["t0", "t2", "t4", "t5"] == [task.task for poll, task in dealt if poll is one]
    assert ["t1", "t3"] == [task.task for poll, task in dealt if poll is two]


async def test_what_one_leaves_another_gets() -> None:
    one, two = Poll(worker("w1"), "r1", 1, 0), Poll(worker("w2"), "r2", 1, 0)
    again = waits("A", worker="w1", created="lease_lost")
    assert [(two, again)] == list(deal([again], [one, two], {}))


async def test_who_is_alone_is_who_else_could_serve_the_class_and_is_not_there() -> None:
    arm: Requirements = {"arch": ("arm64",)}
    polls = [Poll(worker("w1", arm), "r1", 1, 0)]
    again = [waits("A", worker="w1", created="lease_lost", class_="arm")]
    own = avoided(again, polls)
    assert {"w1": {"arm"}} == own
    others = [worker("w1", arm), worker("w2")]
    assert {"w1": {"arm"}} == alone_with({"arm": arm}, others, own)
    assert {"w1": set()} == alone_with({"arm": arm}, [*others, worker("w3", arm)], own)
