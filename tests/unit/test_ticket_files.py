"""Tickets in files: every format says the same, and what is wrong is said with its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from adapters.http.commands import Opening
from adapters.ticket_files import Found, Unreadable, found, schema

AS_TOML = """
priority = 3
[subject]
kind = "commit"
project = "tower"
name = "main"
revision = "c0ffee"
[labels]
nightly = "no"
[[tasks]]
name = "build"
run = {kind = "shell", parameters = {command = ["make"]}}
[[tasks]]
name = "unit"
run = {kind = "shell"}
needs = ["build"]
"""
AS_YAML = """
priority: 3
subject: {kind: commit, project: tower, name: main, revision: c0ffee}
labels: {nightly: no}  # not false, as YAML 1.1 had it
tasks:
- name: build
  run: {kind: shell, parameters: {command: [make]}}
- {name: unit, run: {kind: shell}, needs: [build]}
"""
DOCUMENT: dict[str, Any] = {
    "priority": 3,
    "subject": {"kind": "commit", "project": "tower", "name": "main", "revision": "c0ffee"},
    "labels": {"nightly": "no"},
    "tasks": [
        {"name": "build", "run": {"kind": "shell", "parameters": {"command": ["make"]}}},
        {"name": "unit", "run": {"kind": "shell"}, "needs": ["build"]},
    ],
}


def read(content: str, format_: str) -> list[Found]:
    return list(found(["-"], content.encode, format_))


def one(content: str, format_: str) -> Opening:
    [ticket] = read(content, format_)
    return ticket.opening


def test_a_ticket_is_the_same_in_every_format() -> None:
    tickets = [one(AS_TOML, "toml"), one(AS_YAML, "yaml"), one(json.dumps(DOCUMENT), "json")]
    assert [tickets[0]] * 3 == tickets


def test_without_an_id_it_has_one_that_follows_from_what_is_in_it() -> None:
    first, again = one(AS_TOML, "toml"), one(AS_TOML, "toml")
    other = one(AS_TOML.replace("c0ffee", "c0ffef"), "toml")
    assert first.id == again.id != other.id
    assert first.id.startswith("tower-main-")
    assert "9" == one(json.dumps(DOCUMENT | {"id": "9"}), "json").id


def test_a_file_may_have_several_tickets() -> None:
    lines = "\n".join(json.dumps(DOCUMENT | {"id": str(n)}) for n in range(3))
    assert ["0", "1", "2"] == [ticket.opening.id for ticket in read(lines, "json")]
    documents = f"id: a{AS_YAML}---\nid: b{AS_YAML}"
    assert ["a", "b"] == [ticket.opening.id for ticket in read(documents, "yaml")]


def test_a_directory_means_its_files_in_order(tmp_path: Path) -> None:
    for name, id_ in (("b.yaml", "b"), ("a.json", "a"), ("c.toml", "c")):
        (tmp_path / name).write_text(
            f"id = 'c'{AS_TOML}" if id_ == "c" else json.dumps(DOCUMENT | {"id": id_})
        )
    (tmp_path / "notes.txt").write_text("not a ticket")
    tickets = list(found([str(tmp_path)], bytes, None))
    assert ["a", "b", "c"] == [ticket.opening.id for ticket in tickets]
    assert [f"{tmp_path}/{name}" for name in ("a.json", "b.yaml", "c.toml")] == [
        ticket.place for ticket in tickets
    ]


@pytest.mark.parametrize(
    ("content", "format_", "reason"),
    [
        ("", "json", "it is no JSON"),
        ("", "yaml", "there is no ticket in it"),
        ("[]", "json", "a ticket is an object"),
        ("{", "json", "it is no JSON"),
        ("a = ", "toml", "it is no TOML"),
        ("a: [", "yaml", "it is no YAML"),
        ("a: 1\na: 2", "yaml", "'a' is there twice"),
        ("a: !!python/object:os.system {}", "yaml", "it is no YAML"),
        ("subject: {kind: commit}", "yaml", "subject.project: it is missing."),
        (AS_TOML.replace("priority = 3", "prio = 3"), "toml", "prio: there is no such field."),
        (AS_TOML.replace("priority = 3", "priority = '3'"), "toml", "priority: expected `int`"),
        (AS_TOML.replace('["build"]', '["biuld"]'), "toml", "tasks[1].needs[0]: there is no task"),
        ("[" * 100_000, "json", "it is no JSON"),
        ("\xff", "toml", "it is no TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content: str, format_: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=r"^stdin: ") as raised:
        read(content, format_)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "no file in it ends with"),
        (lambda path: path.write_text("x"), "say its --format"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "ticket"
    make(path)
    with pytest.raises(Unreadable, match=reason) as raised:
        list(found([str(path)], bytes, None))
    assert str(raised.value).startswith(str(path))


def test_the_schema_for_editors_takes_what_can_be_submitted() -> None:
    validator = jsonschema_rs.validator_for(schema(), validate_formats=True)
    validator.validate(DOCUMENT)
    assert not validator.is_valid(DOCUMENT | {"tasks": [{"name": "a b"}]})
    assert not validator.is_valid(DOCUMENT | {"prio": 3})


def test_the_schema_for_editors_knows_what_a_shell_takes() -> None:
    validator = jsonschema_rs.validator_for(schema(), validate_formats=True)

    def takes(kind: str, **parameters: Any) -> bool:
        run = {"kind": kind, "parameters": parameters}
        return validator.is_valid(DOCUMENT | {"tasks": [{"name": "a", "run": run}]})

    assert takes("shell", command="make", artifacts=["*.rpm"], environment={"CC": "clang"})
    assert takes("shell", steps=[{"name": "a", "run": ["make", "it"], "if": "always"}])
    assert not takes("shell", steps=[{"name": "a", "run": "make", "if": "sometimes"}])
    assert not takes("shell", script="make")
    assert takes("robot", script="make")
