"""The client's types are the server's: names, limits and defaults, field by field."""

import ast
import inspect
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters import client, dead
from adapters.client import attempt, errors, logs, rows, work, workflow, working
from adapters.client.client import ENDINGS, Client
from adapters.client.workflow import Opening, encode, encode_body
from adapters.http import artifacts, log_stream, problems
from adapters.http import logs as theirs
from adapters.http import workers as runners
from adapters.http.tickets import Events, Happened, ThenTasks
from adapters.http.work import Answers
from adapters.work import words as said
from domain import workflow as asked
from domain.ticket import words
from domain.ticket.automata import TICKET, TaskState, TicketState
from domain.ticket.commands import Open
from domain.worker.automata import WorkerState
from projections import queries
from projections import rows as read
from projections.workers import Worker, WorkerFilter
from tests.unit.given import Given, opening, task
from tests.unit.tables import Tables

FOLDER = Path(client.__file__).parent


def fields(kind: Any) -> dict[str, tuple[Any, Any]]:
    """The schema and the default of each field of a struct, which may refer to others."""
    [schema], components = msgspec.json.schema_components([kind])
    properties = _plain(schema, components)["properties"]
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(kind)}
    return {
        name: (_plain(each, components), msgspec.to_builtins(defaults[name], enc_hook=repr))
        for name, each in properties.items()
    }


def _plain(schema: Any, components: dict[str, Any]) -> Any:
    """The schema with what it refers to in its place, and without words for people."""
    match schema:
        case {"$ref": str(name)}:
            return _plain(components[name.rpartition("/")[2]], components)
        case dict():
            return {
                name: sorted(each) if name == "required" else _plain(each, components)
                for name, each in schema.items()
                if name not in ("title", "description", "default")
            }
        case list():
            return [_plain(each, components) for each in schema]
    return schema


def lenient(schema: Any) -> Any:
    """As a reader takes it: words may be others, and there may be more of everything."""
    match schema:
        case {"enum": _}:
            return {"type": "string"}
        case dict():
            return {
                name: lenient(each)
                for name, each in schema.items()
                if name not in ("additionalProperties", "required")
            }
        case list() | tuple():
            return [lenient(each) for each in schema]
    return schema


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (workflow.Subject, asked.Subject),
        (workflow.Source, asked.Source),
        (workflow.Run, asked.Run),
        (workflow.Takes, asked.Takes),
        (workflow.Timeouts, asked.Timeouts),
        (workflow.TaskSpec, asked.TaskSpec),
        (workflow.Precedence, words.Precedence),
        (work.Registration, runners.Registration),
        (working.ClaimRequest, said.ClaimRequest),
        (working.Heartbeat, said.Heartbeat),
        (working.Reports, said.Reports),
    ],
)
def test_what_is_written_is_what_the_server_takes(ours: Any, theirs: Any) -> None:
    assert fields(theirs) == fields(ours)


def test_a_ticket_that_is_opened_is_the_command_with_an_id() -> None:
    whole = fields(Opening)
    assert fields(workflow.Body) | {"id": whole["id"]} == whole
    assert fields(Open) == fields(workflow.Body)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (rows.Ticket, read.Ticket),
        (rows.Task, read.Task),
        (rows.Attempt, read.Attempt),
        (rows.Result, read.Result),
        (rows.Event, Happened),
        (rows.Worker, Worker),
        (rows.Busy, runners.Busy),
        (rows.Steered, runners.Steered),
        (work.Registered, runners.Registered),
        (working.Claims, said.Claims),
        (working.Beat, said.Beat),
        (working.Answers, Answers),
        (working.Artifact, words.Artifact),
        (logs.LogPart, log_stream.LogPart),
        (attempt.Appended, theirs.Appended),
        (attempt.Stored, artifacts.Stored),
        (rows.DeadLetter, dead.Letter),
        (rows.Settlement, dead.Settlement),
        (rows.Content, dead.Content),
        (errors.Problem, problems.Problem),
    ],
)
def test_what_is_read_is_what_the_server_writes(ours: Any, theirs: Any) -> None:
    assert lenient(fields(theirs)) == lenient(fields(ours))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (client.TicketState, TicketState),
        (client.TaskState, TaskState),
        (client.WorkerState, WorkerState),
        (client.Execution, words.Execution),
        (client.Outcome, words.Outcome),
        (client.Scope, words.Scope),
    ],
)
def test_the_words_are_the_server_s(ours: type[StrEnum], theirs: type[StrEnum]) -> None:
    assert {word.name: word.value for word in theirs} == {word.name: word.value for word in ours}


@pytest.mark.parametrize(
    ("method", "filter_", "of_one"),
    [
        (Client.tickets, queries.TicketFilter, False),
        (Client.tasks, ThenTasks, True),
        (Client.attempts, queries.AttemptFilter, True),
        (Client.queue, queries.QueueFilter, False),
        (Client.workers, WorkerFilter, False),
        (Client.results, queries.ResultFilter, False),
    ],
)
def test_every_filter_can_be_said(method: Any, filter_: Any, of_one: bool) -> None:
    named = set(inspect.signature(method).parameters) - {"self", "after"}
    known = set(filter_.__struct_fields__) - {"limit", "cursor", "after"}
    assert known | ({"ticket"} if of_one else set()) == named


def test_the_events_of_a_stream_are_asked_for_as_the_server_has_it() -> None:
    for method in (Client.events, Client.worker_events):
        named = set(inspect.signature(method).parameters) - {"self", "ticket", "worker", "version"}
        assert named | {"cursor", "limit"} == set(Events.__struct_fields__)


def test_the_changes_that_end_a_ticket_are_known() -> None:
    ended = {state for state in TicketState if state not in ("absent", "queued", "running")}
    assert set(ENDINGS) == {edge.event.topic for edge in TICKET.edges if edge.destination in ended}


def test_a_ticket_is_encoded_as_the_server_encodes_it() -> None:
    command = opening(task("A", requires={"arch": ("arm64",)}), task("B", "A"), priority=3)
    body = msgspec.json.encode(command)
    ours = msgspec.json.decode(body[:-1] + b',"id":"9"}', type=Opening)
    assert body == encode_body(ours)
    assert {"id": "9", **msgspec.json.decode(body)} == msgspec.json.decode(encode(ours))


def test_what_a_newer_server_adds_is_passed_over() -> None:
    tables = Tables()
    tables.follow([Given(opening("A")).history])
    [row] = tables.tickets.values()
    newer = {**msgspec.to_builtins(row), "state": "dreaming", "mood": {"of": "tomorrow"}}
    read = msgspec.convert(newer, rows.Ticket)
    assert ("dreaming", row.opened_at) == (read.state, read.opened_at)


def test_nothing_but_what_is_declared_is_imported() -> None:
    """Only siblings, by relative imports: beside whatever else is called `domain` or `adapters`."""
    allowed = {"httpx", "msgspec"}
    of_kafka = {"kafka.py", "security.py"}
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.ImportFrom(level=level, module=module):
                    assert level <= 1
                    names = [] if level else [str(module)]
                case ast.Import(names=aliases):
                    names = [alias.name for alias in aliases]
                case _:
                    continue
            roots = {name.partition(".")[0] for name in names}
            known = allowed | ({"aiokafka"} if file.name in of_kafka else set())
            assert roots <= known | sys.stdlib_module_names, file.name


def test_its_licence_is_that_of_the_project() -> None:
    assert (FOLDER.parents[1] / "LICENSE").read_text() == (FOLDER / "LICENSE").read_text()


def test_its_tree_of_errors_is_the_one_in_its_readme() -> None:
    drawn = str(errors.__doc__).partition("\n\n")[2].strip()
    assert drawn in (FOLDER / "README.md").read_text()
    for name in drawn.replace("├──", "").replace("└──", "").replace("│", "").splitlines():
        assert issubclass(getattr(client, name.split()[0]), client.TurnstileError)
