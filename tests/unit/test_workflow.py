"""A workflow is checked when it comes in; every refusal names the field at fault."""

from itertools import pairwise

import pytest

from domain.errors import Invalid
from domain.workflow import MAX_TASKS, Run, Source, Takes, TaskSpec, check, lacking, needs_first
from tests.unit.given import task


def fault(*tasks: TaskSpec, known: tuple[str, ...] = ()) -> tuple[str | None, str]:
    with pytest.raises(Invalid) as refused:
        check(tasks, known)
    return refused.value.field, str(refused.value)


def test_tasks_may_need_one_another_in_any_order() -> None:
    check((task("C", "A", "B"), task("B", "A"), task("A")))


def test_tasks_may_need_what_the_ticket_has() -> None:
    check((task("B", "A"),), known=("A",))


def test_an_unknown_need_is_refused() -> None:
    assert ("tasks[1].needs[1]", "tasks[1].needs[1]: there is no task 'X'.") == fault(
        task("A"), task("B", "A", "X")
    )


def test_a_need_twice_is_refused() -> None:
    assert ("tasks[1].needs[1]", "tasks[1].needs[1]: 'A' is there already.") == fault(
        task("A"), task("B", "A", "A")
    )


def test_a_name_twice_is_refused() -> None:
    assert ("tasks[2].name", "tasks[2].name: 'A' is there already.") == fault(
        task("A"), task("B"), task("A")
    )


def test_a_name_that_the_ticket_has_is_refused() -> None:
    assert ("tasks[0].name", "tasks[0].name: 'A' is there already.") == fault(
        task("A"), known=("A",)
    )


def test_a_task_that_needs_itself_is_refused() -> None:
    assert ("tasks[0].needs", "tasks[0].needs: a cycle, A needs A.") == fault(task("A", "A"))


def test_the_path_of_a_cycle_is_named() -> None:
    field, message = fault(task("A", "C"), task("B", "A"), task("C", "B"), task("D", "A"))
    assert field in {"tasks[0].needs", "tasks[1].needs", "tasks[2].needs"}
    path = message.partition("a cycle, ")[2].removesuffix(".").split(" needs ")
    assert path[0] == path[-1]
    assert {"A needs C", "C needs B", "B needs A"} == {
        f"{one} needs {other}" for one, other in pairwise(path)
    }
    assert field == f"tasks[{'ABC'.index(path[0])}].needs"


def test_a_cycle_of_ten_thousand_is_found() -> None:
    ring = [task(str(n), str((n + 1) % 10_000)) for n in range(10_000)]
    _, message = fault(*ring)
    assert 10_000 == message.count(" needs ")


def test_artifacts_come_from_tasks_that_are_needed() -> None:
    check((task("A"), task("B", "A", takes=(Takes(task="A", artifacts=("*.rpm",)),))))
    assert (
        "tasks[2].takes[1].task",
        "tasks[2].takes[1].task: artifacts come from tasks that are needed, and 'B' is not.",
    ) == fault(task("A"), task("B"), task("C", "A", takes=(Takes(task="A"), Takes(task="B"))))


def test_too_many_tasks_are_refused() -> None:
    check([task(str(n)) for n in range(MAX_TASKS)])
    assert ("tasks", "tasks: a ticket has at most 20000 tasks.") == fault(
        task("B"), known=tuple(map(str, range(MAX_TASKS)))
    )


def test_ten_thousand_needs_of_one_task_are_checked_at_once() -> None:
    names = [f"t{n}" for n in range(10_000)]
    takes = tuple(Takes(task=name) for name in names)
    check([*map(task, names), task("all", *names, takes=takes)])


def test_what_is_needed_is_put_first_and_nothing_else_is_moved() -> None:
    tasks = [task("A", "D", "C"), task("B"), task("C", "D"), task("D", "elsewhere"), task("E", "A")]
    assert ["D", "C", "A", "B", "E"] == [each.name for each in needs_first(tasks)]


def test_a_chain_of_ten_thousand_is_put_in_order() -> None:
    chain = [task(str(n), str(n + 1)) for n in range(9_999)] + [task("9999")]
    assert list(reversed(chain)) == needs_first(chain)


def test_a_worker_is_capable_if_it_has_all_that_is_required() -> None:
    requires = {"arch": ("x86_64",), "feature": ("kvm", "net")}
    assert None is lacking({"arch": ("x86_64", "i686"), "feature": ("net", "kvm")}, requires)
    assert ("feature", ["kvm"]) == lacking({"arch": ("x86_64",), "feature": ("net",)}, requires)
    assert ("arch", ["x86_64"]) == lacking({}, requires)
    assert None is lacking({}, {})


def _nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("parameters", "field", "reason"),
    [
        ({"a": _nested(200)}, "tasks[0].run.parameters.a.in.in", "nested more than 32"),
        ({"a": {"b": "x\0"}}, "tasks[0].run.parameters.a.b", "NUL"),
        ({"a": {"x\0": 1}}, "tasks[0].run.parameters.a", "NUL"),
        ({"a": [2**63]}, "tasks[0].run.parameters.a", "64 bits"),
    ],
)
def test_parameters_that_not_every_reader_can_hold_are_refused(
    parameters: dict[str, object], field: str, reason: str
) -> None:
    with pytest.raises(Invalid, match=reason) as refused:
        check([TaskSpec(name="A", run=Run("robot", parameters))])
    assert refused.value.field is not None
    assert refused.value.field.startswith(field)


def test_ordinary_parameters_are_taken() -> None:
    parameters = {"command": ["make", "-j", 8], "environment": {"CC": "clang", "V": None}, "n": 1.5}
    check([TaskSpec(name="A", run=Run("robot", parameters))])
    source = Source(kind="git", url="https://forge.example/x", parameters=_nested(20))
    check([TaskSpec(name="A", run=Run("shell"), sources=(source,))])
