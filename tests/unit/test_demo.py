"""The demonstration's checks: each finds out what is wrong."""

import tomllib
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from adapters.client import Artifact, Attempt, Event, Opening, Task, Ticket
from domain.workflow import TaskSpec, check
from workers.demo.checks import ENDED, checks
from workers.demo.outcome import Aftermath, Outcome
from workers.demo.tasks.short import long_ones
from workers.demo.tasks.slowest import told
from workers.demo.workflow import opening

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
REPORT = b"<testsuite><testcase name='test_it_works' time='0.5'/></testsuite>"
SAID = told(REPORT).encode()


def artifact(name: str, content: bytes) -> Artifact:
    return Artifact(name, f"sha256:{sha256(content).hexdigest()}", len(content))


def attempt(token: int, task: str, number: int, worker: str, ended: str, **rest: Any) -> Attempt:
    return Attempt(
        ticket="t", token=token, task=task, number=number, worker=worker, request="r", lease=5.0,
        created="ticket_opened", claimed_at=NOON, ended=ended, **rest,
    )  # fmt: skip


PASSED: dict[str, Any] = {"execution": "ok", "outcome": "passed", "started_at": NOON}
BUSY: dict[str, Any] = {"execution": "infrastructure", "reason": "git .: error: 503 (tried once)"}

ATTEMPTS = [
    attempt(3, "domain", 1, "runner-2", "lease_lost", started_at=NOON),
    attempt(4, "imports", 1, "runner-1", "task_retried", **BUSY),
    attempt(5, "lint", 1, "runner-1", "task_passed", **PASSED),
    attempt(6, "short", 1, "runner-1", "task_failed"),
    attempt(7, "imports", 2, "runner-1", "task_passed", **PASSED),
    attempt(8, "domain", 2, "runner-1", "task_passed", **PASSED),
    attempt(9, "slowest", 1, "runner-1", "task_passed", **PASSED),
]
WORDS = ["ticket_opened", *(str(one.ended) for one in ATTEMPTS), "ticket_passed"]
TASKS = ["", *(one.task for one in ATTEMPTS), ""]


def event(version: int, word: str, task: str) -> Event:
    return Event(
        version=version, type=f"turnstile.ticket.{word}", time=NOON, actor="a", what="", details=(),
        seconds=None, id="", command="", sequence=version, data={"task": task},
    )  # fmt: skip


def row(task: str, state: str, attempts: int) -> Task:
    return Task(
        ticket="t", task=task, n=0, project="p", class_="c", required=True, spec=None, state=state,
        since=NOON, created="ticket_opened", attempts=attempts,
    )  # fmt: skip


TICKET = Ticket(
    ticket="t", partition=0, kind="commit", project="p", name="n", revision="r", url=None,
    labels={}, supersedes=None, supersedes_order=None, not_before=None, opened_at=NOON,
    opened_by="a", state="passed", priority=0, sealed=True, deadline=NOON,
)  # fmt: skip

OUTCOME = Outcome(
    ticket=TICKET,
    tasks=[row(task, state, attempts) for task, (state, attempts) in ENDED.items()],
    attempts=ATTEMPTS,
    events=[event(n, *each) for n, each in enumerate(zip(WORDS, TASKS, strict=True), start=1)],
    results=[],
    artifacts={8: [artifact("report.xml", REPORT)], 9: [artifact("slowest.txt", SAID)]},
    contents={artifact("", each).digest: each for each in (REPORT, SAID)},
    logs={3: b"...  [ 21%]\n", 8: b"...  [100%]\n72 passed in 3.00s\n"},
)
AFTER = Aftermath("runner-2", 1, {"runner-1": 0, "service": 0}, [])


def failing(outcome: Outcome, after: Aftermath = AFTER) -> list[str]:
    """The first words of what does not hold."""
    return [
        " ".join(each.sentence.split()[:3]) for each in checks(outcome, after) if not each.holds
    ]


def changed(at: int, **fields: Any) -> Outcome:
    """Another attempt in the place of one."""
    attempts = [*ATTEMPTS]
    attempts[at] = replace(attempts[at], **fields)
    return replace(OUTCOME, attempts=attempts)


def test_all_checks_hold_where_all_is_well() -> None:
    assert [] == failing(OUTCOME)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (replace(OUTCOME, ticket=replace(TICKET, state="failed")), "the ticket passed:"),
        (replace(OUTCOME, tasks=OUTCOME.tasks[1:]), "the ticket passed:"),
        (changed(0, worker="runner-1"), "runner-2 was killed:"),
        (changed(0, ended="claim_returned"), "runner-2 was killed:"),
        (changed(5, worker="runner-2"), "runner-2 was killed:"),
        (replace(OUTCOME, logs={8: OUTCOME.logs[8]}), "the log of"),
        (replace(OUTCOME, logs={3: OUTCOME.logs[8], 8: OUTCOME.logs[8]}), "the log of"),
        (replace(OUTCOME, logs={3: OUTCOME.logs[3], 8: OUTCOME.logs[3]}), "the log of"),
        (changed(1, reason="git .: no route to host"), "the git server"),
        (changed(1, execution="configuration"), "the git server"),
        (changed(1, started_at=NOON), "the git server"),
        (replace(OUTCOME, artifacts={8: OUTCOME.artifacts[8]}), "slowest was given"),
        (
            replace(OUTCOME, contents={**OUTCOME.contents, artifact("", REPORT).digest: b"?"}),
            "slowest was given",
        ),
        (
            replace(OUTCOME, contents={**OUTCOME.contents, artifact("", SAID).digest: b"?"}),
            "slowest was given",
        ),
        (replace(OUTCOME, events=OUTCOME.events[1:]), "the history has"),
        (
            replace(OUTCOME, events=[*OUTCOME.events, event(10, "task_passed", "lint")]),
            "the history has",
        ),
    ],
)
def test_an_outcome_that_is_wrong_is_found_out(wrong: Outcome, found: str) -> None:
    assert [found] == failing(wrong)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (replace(AFTER, refused=0), "the git server"),
        (replace(AFTER, left=["17 pytest"]), "no process of"),
        (replace(AFTER, statuses={}), "no process of"),
        (replace(AFTER, statuses={"runner-1": 0, "service": -9}), "no process of"),
    ],
)
def test_what_is_left_behind_is_found_out(after: Aftermath, found: str) -> None:
    assert [found] == failing(OUTCOME, after)


def test_the_workflow_is_one_with_everything_filled_in() -> None:
    opened = opening("t", git="http://127.0.0.1:1", revision="c0ffee", name='odd"name')
    assert set(ENDED) == {task.name for task in opened.tasks}
    assert 'odd"name' == opened.subject.name
    assert "$" not in msgspec.json.encode(opened).decode()
    check(msgspec.convert(msgspec.to_builtins(opened.tasks), tuple[TaskSpec, ...]))
    assert opened == msgspec.convert(msgspec.to_builtins(opened), Opening)


def test_the_workflow_runs_files_that_are_there() -> None:
    root = Path(__file__).parents[2]
    workflow = tomllib.loads((root / "workers/demo/workflow.toml").read_text())
    [command] = [
        task["run"]["parameters"]["command"]
        for task in workflow["tasks"]
        if task["name"] == "domain"
    ]
    tests = [word for word in command.split() if word.endswith(".py")]
    assert tests
    assert [] == [name for name in tests if not (root / "tests/unit" / name).is_file()]


def test_the_slowest_tests_are_told_with_their_report() -> None:
    first, count, slowest = SAID.decode().splitlines()
    assert f"report.xml is {artifact('', REPORT).digest}" == first
    assert count.startswith("1 tests")
    assert "0.500 s  test it works" == slowest.strip()


@pytest.mark.parametrize(("most", "found"), [(2, [(3, Path("domain/a.py"))]), (3, [])])
def test_long_modules_are_found(tmp_path: Path, most: int, found: list[tuple[int, Path]]) -> None:
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "a.py").write_text("1\n2\n3\n")
    assert found == list(long_ones(tmp_path, most))
