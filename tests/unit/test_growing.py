"""Tickets grow and are large: parts, additions, the seal, ten thousand tasks."""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache, partial
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

import msgspec
import pytest

from domain.errors import DifferentBody, Ended, Invalid, StaleToken, UnknownTask
from domain.event import Event
from domain.ticket import commands as c
from domain.ticket.attempts import MAX_UNSTARTED
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    TasksAdded,
    TasksCancelled,
    TasksReady,
    TasksReset,
    TicketCancelled,
    TicketPassed,
    TicketSealed,
)
from domain.ticket.state import Task
from domain.ticket.words import Limit, Outcome, Scope
from domain.workflow import MAX_TASKS, TaskSpec
from tests.unit.given import (
    Fact,
    Given,
    adding,
    claim,
    errored,
    given,
    hand_back,
    lose,
    opening,
    passed,
    ran,
    start,
    task,
    time_out,
    working,
)

RECORD = 512 * 1024
MANY = 10_000


def test_an_open_ticket_grows() -> None:
    grown = given(opening("A"))
    added, ready = grown.when(adding(task("B", "A"), "C")).events
    assert isinstance(added, TasksAdded)
    assert ("B", "C") == tuple(each.name for each in added.tasks)
    assert TasksReady(tasks=("C",)) == ready


def test_a_task_lets_its_own_ticket_grow_while_it_runs() -> None:
    deciding = given(opening("A"), *working("A"))
    added, ready = deciding.when(adding("B", by_task="A", token=3)).events
    assert isinstance(added, TasksAdded)
    assert "A" == added.by_task
    assert TasksReady(tasks=("B",)) == ready


def test_a_task_whose_attempt_is_over_lets_nothing_grow() -> None:
    over = given(opening("A", "Z"), *working("A"), lose("A"))
    over.when(adding("B", by_task="A", token=4)).refused(StaleToken)
    over.when(adding("B", by_task="A")).refused(StaleToken)
    over.when(adding("B", by_task="X", token=4)).refused(UnknownTask, field="by_task")
    over.when(adding("B", token=4)).refused(UnknownTask, field="by_task")


def test_the_same_tasks_again_are_success_also_from_the_next_attempt() -> None:
    deciding = given(opening("A"), *working("A"), adding("B", by_task="A", token=3), lose("A"))
    deciding.after(*working("A"))
    token = deciding.task("A").attempts[-1].token
    deciding.when(adding("B", by_task="A", token=token)).then_nothing()
    deciding.when(adding("B")).then_nothing()


def test_the_same_names_with_another_body_are_a_conflict() -> None:
    grown = given(opening("A"), adding("B", "C"))
    grown.when(adding("B")).refused(DifferentBody, field="tasks[0].name")
    grown.when(adding("D", "C")).refused(DifferentBody, field="tasks[1].name")
    grown.when(adding("A")).refused(DifferentBody, match="task 'A' exists already")


def test_added_tasks_are_checked_with_those_that_are_there() -> None:
    given(opening("A")).when(adding(task("B", "X"))).refused(Invalid, field="tasks[0].needs[0]")


def test_the_limit_counts_all_tasks_of_the_ticket() -> None:
    full = given(opening(*map(str, range(MAX_TASKS))))
    full.when(adding("A")).refused(Invalid, field="tasks", match="at most 20000")


def test_a_ticket_that_has_ended_takes_no_more_tasks() -> None:
    over = given(opening("A"), adding("B"), *ran("A"), *ran("B"))
    over.when(adding("C")).refused(Ended)
    over.when(adding("B")).then_nothing()


def test_a_ticket_does_not_end_before_all_its_tasks_were_added() -> None:
    unsealed = given(opening("A", "B", sealed=False), c.Cancel(tasks=("A", "B")))
    assert TicketState.QUEUED is unsealed.state
    unsealed.after(adding("C")).when(c.Seal()).then(TicketSealed(), TasksReady(tasks=("C",)))


def test_the_seal_starts_what_waited_for_it() -> None:
    more = adding("C", task("D", "A", held=True))
    unsealed = given(opening("A", task("B", "A"), sealed=False), more)
    sealed = unsealed.when(c.Seal()).then(TicketSealed(), TasksReady(tasks=("A", "C")))
    sealed.when(c.Seal()).then_nothing()
    assert TaskState.HELD is sealed.tasks["D"]


def test_the_seal_ends_a_ticket_whose_tasks_have_all_ended() -> None:
    given(opening("A", sealed=False), c.Cancel(tasks=("A",))).when(c.Seal()).then(
        TicketSealed(), TicketCancelled(reason="a required task was cancelled")
    )
    optional = opening(task("A", required=False), sealed=False)
    given(optional, c.Cancel(tasks=("A",))).when(c.Seal()).then(TicketSealed(), TicketPassed())


def test_an_empty_ticket_is_not_sealed() -> None:
    empty = given(opening(sealed=False))
    empty.when(c.Seal()).refused(Invalid, field="tasks")
    assert TicketState.CANCELLED is empty.after(c.Cancel()).state
    empty.when(c.Seal()).refused(Ended)


def test_a_sealed_ticket_still_grows_and_what_is_added_starts_at_once() -> None:
    grown = given(opening("A", sealed=False), c.Seal(), adding("B"))
    assert {"A": TaskState.READY, "B": TaskState.READY} == grown.tasks


def test_tasks_that_are_added_keep_the_ticket_open() -> None:
    grown = given(opening("A"), *working("A"), adding("B"), passed("A"))
    assert TicketState.RUNNING is grown.state
    assert TicketState.PASSED is grown.after(*ran("B")).state


# -------------------------------------------------------------------------- ten thousand tasks


@cache
def many(name: str = "t{}") -> tuple[TaskSpec, ...]:
    return tuple(task(name.format(n)) for n in range(MANY))


def sizes(events: list[Event]) -> list[int]:
    return [len(msgspec.json.encode(event)) for event in events]


LONGEST = "t{:05}" + "x" * 122
"""A name of 128 characters, which is as long as one may be."""


@pytest.mark.parametrize(
    "facts",
    [
        (c.Cancel(reason="\x01" * 8192),),
        (c.Cancel(tasks=tuple(each.name for each in many(LONGEST))),),
        (c.Hold(), c.Unhold()),
        (c.Cancel(), c.Rerun()),
    ],
    ids=["cancel", "cancel each", "hold and unhold", "rerun"],
)
def test_no_event_of_ten_thousand_tasks_is_larger_than_a_record(facts: tuple[Fact, ...]) -> None:
    large = given(opening(*many(LONGEST)), *facts)
    assert MANY == len(large.ticket.tasks)
    assert max(sizes(large.events)) < RECORD


def test_what_needs_one_of_ten_thousand_is_skipped_in_parts() -> None:
    large = given(opening("A", *(task(each.name, "A") for each in many())))
    events = large.when(c.Cancel(tasks=("A",))).events
    assert ["TasksCancelled", *["TasksSkipped"] * 5, "TicketCancelled"] == [
        type(event).__name__ for event in events
    ]


def test_what_waits_for_one_of_ten_thousand_is_ready_in_parts() -> None:
    large = given(opening("A", *(task(each.name, "A") for each in many())), *ran("A"))
    assert [TasksReady] * 5 == [type(event) for event in large.events[-5:]]
    assert TaskState.READY is large.tasks["t9999"]


def test_a_task_may_need_ten_thousand_others() -> None:
    names = [each.name for each in many()]
    large = given(opening(*many(), task("all", *names)))
    assert max(sizes(large.events)) < RECORD
    large.after(*(passing for name in names for passing in (claim(name), passed(name))))
    assert TaskState.READY is large.tasks["all"]


def test_tasks_that_are_much_entangled_are_ended_and_run_again_at_once() -> None:
    layers = [tuple(f"t{layer}.{n}" for n in range(3)) for layer in range(200)]
    needs = zip(layers, [(), *layers], strict=False)
    knot = given(opening(*(task(name, *before) for layer, before in needs for name in layer)))
    assert TicketState.CANCELLED is knot.after(c.Cancel(tasks=layers[0])).state
    knot.after(c.Rerun(scope=Scope.TASKS, tasks=layers[0][:1]))
    assert {TaskState.READY: 1, TaskState.CANCELLED: 2, TaskState.SKIPPED: 597} == Counter(
        knot.tasks.values()
    )
    knot.after(c.Rerun(scope=Scope.FAILED))
    assert {TaskState.READY: 3, TaskState.BLOCKED: 597} == Counter(knot.tasks.values())


def test_a_chain_of_ten_thousand_that_was_skipped_is_not_walked_for_each_that_is_added() -> None:
    names = [each.name for each in many()]
    chain = (task(name, before) for before, name in pairwise(names))
    skipped = given(opening(names[0], *chain, "other"), c.Cancel(tasks=(names[0],)))
    more = adding(*(task(f"m{n}", name) for n, name in enumerate(names[1:5_000])))
    assert calls(partial(skipped.after, more)) < 50 * MANY
    assert (names[0],) == tuple({skipped.task(f"m{n}").because for n in range(4_999)})


def test_large_labels_do_not_make_a_record_too_large() -> None:
    labels = {f"label {n}": "x" * 8000 for n in range(60)}
    large = given(opening(*many()[:4_000], labels=labels))
    assert 4_000 == len(large.ticket.tasks)
    assert max(sizes(large.events)) < RECORD


def test_to_cancel_ten_thousand_is_split_and_ends_the_ticket() -> None:
    large = given(opening(*many()))
    *cancelled, end = large.when(c.Cancel(reason="enough")).events
    assert [2_000] * 5 == [
        len(event.tasks) for event in cancelled if isinstance(event, TasksCancelled)
    ]
    assert TicketCancelled(reason="enough") == end
    assert TicketState.CANCELLED is large.after(c.Cancel()).state


def test_ten_thousand_tasks_are_added_in_parts_and_run_again_in_parts() -> None:
    large = given(opening(sealed=False))
    for n in range(0, MANY, 1_000):
        large.after(adding(*many()[n : n + 1_000]))
    large.after(c.Seal(), c.Cancel())
    resets = [e for e in large.after(c.Rerun()).events if isinstance(e, TasksReset)]
    assert [2_000] * 5 == [len(event.tasks) for event in resets]
    assert {large.ticket.deadline} == {event.deadline for event in resets}
    assert {TaskState.READY} == set(large.tasks.values())


class Unscanned(dict[str, Task]):
    """Tasks that are found by their names and never gone through."""

    def _scanned(self) -> NoReturn:
        raise AssertionError("all tasks were gone through for the sake of one")

    def __iter__(self) -> Iterator[str]:
        self._scanned()

    def keys(self) -> Any:
        self._scanned()

    def values(self) -> Any:
        self._scanned()

    def items(self) -> Any:
        self._scanned()


def calls(work: Callable[[], object]) -> int:
    """How many calls of functions, ours and C's, the work takes."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()  # a collection calls whoever listens to it, as Hypothesis does
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def life(large: Given, name: str) -> list[int]:
    """What each step of a task's life costs."""
    steps: tuple[Fact, ...] = (
        c.Hold(tasks=(name,)),
        c.Unhold(tasks=(name,)),
        claim(name),
        start(name),
        lose(name),
        claim(name),
        hand_back(name),
        claim(name),
        passed(name),
        passed(name),
    )
    return [calls(partial(large.after, step)) for step in steps]


def test_an_event_of_the_last_task_costs_what_one_of_the_first_does() -> None:
    large = given(opening(*many(), "other"))
    first = life(large, "t0")
    for each in many()[1:-1]:
        large.after(claim(each.name), passed(each.name))
    assert first == life(large, f"t{MANY - 1}")
    assert first == life(given(opening("t0", "other")), "t0")


def test_no_step_of_a_task_goes_through_all_tasks() -> None:
    large = given(opening(*many(), "other"))
    large.ticket.tasks = Unscanned(large.ticket.tasks)
    large.after(
        *working("t0"),
        lose("t0"),
        *working("t0"),
        adding(task("more", "t0")),
        passed("t0"),
        *ran("more", Outcome.FAILED),
        *errored("t1"),
        c.Hold(tasks=("t2",)),
        c.Unhold(tasks=("t2",)),
        c.Cancel(tasks=("t2",)),
        *((claim("t3"), hand_back("t3")) * (MAX_UNSTARTED + 1)),
        claim("t5"),
        *working("t6"),
        timedelta(days=1),
        c.TimeOut(task="t4", limit=Limit.QUEUE),
        time_out("t5", Limit.START),
        time_out("t6", Limit.RUN),
    )
    assert [TaskState.PASSED, TaskState.ERRORED, TaskState.CANCELLED] == [
        large.task(name).state for name in ("t0", "t1", "t2")
    ]
    assert [TaskState.ERRORED, TaskState.ERRORED, TaskState.READY, TaskState.TIMED_OUT] == [
        large.task(name).state for name in ("t3", "t4", "t5", "t6")
    ]
