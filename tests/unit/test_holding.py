"""A gate before a task, that a person or a rule closes and opens."""

from domain.errors import NotAllowedNow, NotReady, UnknownTask
from domain.ticket import commands as c
from domain.ticket.automata import TaskState
from domain.ticket.events import TasksHeld, TasksReady, TasksUnheld
from domain.ticket.words import Outcome
from tests.unit.given import claim, given, lose, opening, ran, task, working

WORKFLOW = opening("A", "B", task("C", "A"))


def test_what_waits_is_held() -> None:
    given(WORKFLOW).when(c.Hold(tasks=("A", "C"), reason="freeze")).then(
        TasksHeld(tasks=("A", "C"), reason="freeze")
    ).when(claim("A")).refused(NotReady, match="it is held")


def test_without_any_named_all_that_wait_are_held() -> None:
    given(WORKFLOW, *working("B")).when(c.Hold()).then(TasksHeld(tasks=("A", "C")))


def test_to_hold_what_is_held_changes_nothing() -> None:
    given(WORKFLOW, c.Hold()).when(c.Hold(tasks=("A",))).then_nothing()
    given(WORKFLOW, c.Hold()).when(c.Hold()).then_nothing()


def test_what_is_at_work_or_has_ended_is_not_held() -> None:
    given(WORKFLOW, *working("A")).when(c.Hold(tasks=("B", "A"))).refused(
        NotAllowedNow, match="Task 'A' is running: only waiting tasks are held"
    )
    given(WORKFLOW, *ran("A")).when(c.Hold(tasks=("A",))).refused(NotAllowedNow)


def test_an_unknown_task_is_not_held() -> None:
    given(WORKFLOW).when(c.Hold(tasks=("X",))).refused(UnknownTask, field="tasks[0]")
    given(WORKFLOW).when(c.Unhold(tasks=("X",))).refused(UnknownTask, field="tasks[0]")


def test_an_open_gate_makes_ready_what_waits_for_nothing_else() -> None:
    given(WORKFLOW, c.Hold()).when(c.Unhold(reason="thaw")).then(
        TasksUnheld(tasks=("A", "B", "C"), reason="thaw"), TasksReady(tasks=("A", "B"))
    )


def test_one_gate_is_opened_and_the_others_stay_closed() -> None:
    given(WORKFLOW, c.Hold()).when(c.Unhold(tasks=("B", "B"))).then(
        TasksUnheld(tasks=("B",)), TasksReady(tasks=("B",))
    )


def test_to_open_an_open_gate_changes_nothing() -> None:
    given(WORKFLOW).when(c.Unhold()).then_nothing()
    given(WORKFLOW).when(c.Unhold(tasks=("A",))).then_nothing()


def test_what_a_held_task_needs_may_pass_meanwhile() -> None:
    held = given(WORKFLOW, c.Hold(tasks=("C",)), *ran("A"))
    assert TaskState.HELD is held.tasks["C"]
    held.when(c.Unhold()).then(TasksUnheld(tasks=("C",)), TasksReady(tasks=("C",)))


def test_a_lost_task_can_be_held_before_its_next_attempt() -> None:
    lost = given(WORKFLOW, claim("A"), lose("A"), c.Hold(tasks=("A",)))
    assert TaskState.HELD is lost.tasks["A"]
    assert "lease_lost" == lost.after(c.Unhold(), claim("A")).task("A").attempts[-1].created


def test_a_gate_that_opens_before_the_seal_makes_nothing_ready() -> None:
    unsealed = given(opening(task("A", held=True), sealed=False))
    unsealed.when(c.Unhold()).then(TasksUnheld(tasks=("A",)))
    assert TaskState.READY is unsealed.after(c.Seal()).tasks["A"]


def test_a_gate_stays_closed_over_the_seal() -> None:
    sealed = given(opening(task("A", held=True), sealed=False), c.Seal())
    assert TaskState.HELD is sealed.tasks["A"]
    sealed.when(c.Unhold()).then(TasksUnheld(tasks=("A",)), TasksReady(tasks=("A",)))


def test_the_gate_does_not_save_what_needs_a_failed_task() -> None:
    held = given(WORKFLOW, c.Hold(tasks=("C",)), *ran("A", Outcome.FAILED))
    assert TaskState.SKIPPED is held.tasks["C"]
    held.when(c.Unhold(tasks=("C",))).then_nothing()


def test_a_held_task_is_cancelled_like_any_other() -> None:
    assert TaskState.CANCELLED is given(WORKFLOW, c.Hold(), c.Cancel(tasks=("A",))).tasks["A"]
