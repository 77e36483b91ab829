"""What a task of kind `shell` may say; whatever it may not, is refused by its field."""

from typing import Any

import pytest

from domain.errors import Invalid
from domain.shell import Condition, Shell, Step, shell_of, steps_of
from domain.workflow import Run, Source, TaskSpec, check
from tests.unit.given import given, opening


def test_a_command_is_one_step() -> None:
    assert (Step(name="command", run="make"),) == steps_of(shell_of({"command": "make"}))
    words = shell_of({"command": ["make", "all"]})
    assert (Step(name="command", run=("make", "all")),) == steps_of(words)


def test_steps_are_what_they_are() -> None:
    first = {"name": "build", "run": "make\nmake check", "timeout": 60, "environment": {"V": "1"}}
    last = {"name": "tidy", "run": ["make", "clean"], "if": "always"}
    assert (
        Step(name="build", run="make\nmake check", timeout=60.0, environment={"V": "1"}),
        Step(name="tidy", run=("make", "clean"), if_=Condition.ALWAYS),
    ) == steps_of(shell_of({"steps": [first, last]}))


def test_what_is_around_the_steps_has_defaults() -> None:
    assert Shell(command="make") == shell_of({"command": "make"})
    everything = {
        "command": "make",
        "environment": {"CC": "clang"},
        "artifacts": ["out/**/*.rpm"],
        "secrets": {"TOKEN": "forge/token"},
        "network": False,
        "directory": "src/tower",
        "log_limit": 1_000_000,
    }
    assert everything["secrets"] == shell_of(everything).secrets


STEP = {"name": "a", "run": "true"}


@pytest.mark.parametrize(
    ("parameters", "field", "reason"),
    [
        ({"script": "make"}, "script", "there is no such field"),
        ({"command": 3}, "command", "expected `str | array"),
        ({"command": ""}, "command", "length >= 1"),
        ({"command": []}, "command", "length >= 1"),
        ({"command": "a\0b"}, "command", "NUL"),
        ({"steps": [{**STEP, "run": "a\0b"}]}, "steps[0].run", "NUL"),
        ({"command": ["make", 8]}, "command[1]", "expected `str`, got `int`"),
        ({"command": "make", "steps": [STEP]}, "steps", "there is a command"),
        ({"steps": [{"run": "true"}]}, "steps[0].name", "it is missing"),
        ({"steps": [STEP, {**STEP, "name": "b", "if": "never"}]}, "steps[1].if", "never"),
        ({"steps": [STEP, {**STEP, "if_": "always"}]}, "steps[1].if_", "no such field"),
        ({"steps": [STEP, STEP]}, "steps[1].name", "'a' is there already"),
        ({"steps": [{**STEP, "timeout": 0}]}, "steps[0].timeout", "> 0"),
        ({"steps": [{**STEP, "name": "a\nb"}]}, "steps[0].name", "matching regex"),
        ({"environment": {"A B": "c"}}, "environment", "matching regex"),
        ({"environment": {"A": None}}, "environment[...]", "expected `str`"),
        ({"environment": {"TURNSTILE_X": ""}}, "environment.TURNSTILE_X", "for the runner"),
        ({"secrets": {"TURNSTILE_X": "x"}}, "secrets.TURNSTILE_X", "for the runner"),
        (
            {"steps": [{**STEP, "environment": {"TURNSTILE_X": ""}}]},
            "steps[0].environment.TURNSTILE_X",
            "for the runner",
        ),
        ({"environment": {"A": "1"}, "secrets": {"A": "x"}}, "secrets.A", "already"),
        ({"directory": "/etc"}, "directory", "inside the sources"),
        ({"directory": "a/../.."}, "directory", "inside the sources"),
        ({"artifacts": ["*.log", "../*"]}, "artifacts[1]", "inside the sources"),
        ({"artifacts": ["out/**/*.log", "out/**.deb"]}, "artifacts[1]", "a part by itself"),
        ({"artifacts": ["a**/b"]}, "artifacts[0]", "a part by itself"),
        ({"log_limit": 0}, "log_limit", ">= 1"),
        ({"network": "no"}, "network", "expected `bool`"),
    ],
)
def test_wrong_parameters_are_refused_by_their_place(
    parameters: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check([TaskSpec(name="A", run=Run("shell", parameters))])
    assert f"tasks[0].run.parameters.{field}" == refused.value.field
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "parameters", "field", "reason"),
    [
        ("gitt", {}, "kind", "archive, directory, git"),
        ("git", {"deepth": 1}, "parameters.deepth", "no such field"),
        ("git", {"depth": 0}, "parameters.depth", ">= 1"),
        ("git", {"submodules": "yes"}, "parameters.submodules", "expected `bool`"),
        ("archive", {"depth": 1}, "parameters.depth", "no such field"),
        ("directory", {"path": 3}, "parameters.path", "expected `str`"),
    ],
)
def test_wrong_sources_are_refused_by_their_place(
    kind: str, parameters: dict[str, Any], field: str, reason: str
) -> None:
    sources = (Source("git", "/x", parameters={"depth": 1}), Source(kind, "/x", None, parameters))
    with pytest.raises(Invalid) as refused:
        check([TaskSpec(name="A", run=Run("shell", {"command": "make"}), sources=sources)])
    assert f"tasks[0].sources[1].{field}" == refused.value.field
    assert reason in str(refused.value)
    check([TaskSpec(name="A", run=Run("robot", {"command": "make"}), sources=sources)])


def test_a_ticket_with_wrong_parameters_is_not_opened() -> None:
    wrong = TaskSpec(name="B", run=Run("shell", {"steps": [{**STEP, "if": "later"}]}))
    given().when(opening("A", wrong)).refused(
        Invalid, field="tasks[1].run.parameters.steps[0].if", match="later"
    )


def test_other_kinds_have_parameters_of_their_own() -> None:
    check([TaskSpec(name="A", run=Run("robot", {"command": 3}))])


def test_a_task_with_nothing_to_run_may_be_opened_and_cannot_be_run() -> None:
    check([TaskSpec(name="A", run=Run("shell"))])
    check([TaskSpec(name="A", run=Run("shell", {"environment": {"CC": "clang"}}))])
    with pytest.raises(Invalid, match="neither a command nor steps"):
        steps_of(shell_of({}))
