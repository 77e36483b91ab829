"""`turnstile runner`, as somebody starts it, and what becomes of tickets by it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import pytest

from adapters.client import Outcome, Reported
from tests.journey.command import PATIENCE, TURNSTILE, environment, processes, turnstile
from tests.journey.running import Site, opening, running
from workers.runner.delivery import Kept, Reports
from workers.runner.home import home as home_of

pytestmark = pytest.mark.service

T = TypeVar("T")

RUNNER = (TURNSTILE, "runner", "--only", "worker")
"""One that leaves alone what other tests have left."""


class Started:
    """A runner that runs, and where it works."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, home: Path) -> None:
        self.process = process
        self.name = name
        self.home = home

    def end(self) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(PATIENCE)


class Floor:
    """Where runners are started, for one service and one test."""

    def __init__(self, site: Site, folder: Path, stack: ExitStack) -> None:
        self.site = site
        self.folder = folder
        self._stack = stack

    def start(self, name: str, *options: str, home: Path | None = None) -> Started:
        """A runner that alone can do what this test asks for, and does nothing else."""
        home = home or self.folder / name
        home.parent.mkdir(exist_ok=True)
        log = self._stack.enter_context((self.folder / f"{name}.log").open("ab"))
        process = self._stack.enter_context(
            subprocess.Popen(
                [*RUNNER, "--name", name, "--dir", str(home), *options],
                env=environment(**self.site.settings(), TURNSTILE_LOG_FORMAT="json"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        )
        self._stack.callback(process.kill)
        return Started(process, name, home)

    def open(self, ticket: str, worker: str, tasks: Sequence[Mapping[str, Any]]) -> None:
        """A ticket whose tasks only this worker can run."""
        requires = {"requires": {"worker": [worker]}}
        body = opening(ticket)
        body["tasks"] = [requires | dict(task) for task in tasks]
        response = self.site.owner.post("/v1/tickets", json=body)
        assert 201 == response.status_code, response.text

    def said(self, name: str) -> str:
        """What a runner has logged until now."""
        return (self.folder / f"{name}.log").read_text()

    def ended(self, ticket: str) -> dict[str, Any]:
        """The ticket, when it has ended."""
        return until(lambda: self._shown(ticket, "ended_at"))

    def at_work(self, ticket: str, task: str) -> None:
        """Wait until the task runs."""
        until(lambda: "running" == self.tasks(ticket).get(task, {}).get("state"))

    def tasks(self, ticket: str) -> dict[str, dict[str, Any]]:
        rows = self.site.anybody.get(f"/v1/tickets/{ticket}/tasks").json().get("rows", ())
        return {row["task"]: row for row in rows}

    def states(self, ticket: str) -> dict[str, tuple[str, int]]:
        """The state of each task, and how many attempts it took."""
        return {name: (row["state"], row["attempts"]) for name, row in self.tasks(ticket).items()}

    def log(self, ticket: str, task: str) -> bytes:
        """What the newest attempt at the task has said."""
        return self.site.anybody.get(f"/v1/tickets/{ticket}/tasks/{task}/log").content

    def results(self, ticket: str) -> list[tuple[str, str]]:
        rows = self.site.anybody.get("/v1/results", params={"ticket": ticket}).json()["rows"]
        return sorted((row["testcase"], row["outcome"]) for row in rows)

    def happened(self, ticket: str) -> list[str]:
        """The words of what has happened to the ticket."""
        rows = self.site.anybody.get(f"/v1/tickets/{ticket}/events").json()["rows"]
        return [row["type"].rpartition(".")[2] for row in rows]

    def _shown(self, ticket: str, field: str) -> dict[str, Any] | None:
        row: dict[str, Any] = self.site.anybody.get(f"/v1/tickets/{ticket}").json()
        return row if row.get(field) else None


def until(found: Callable[[], T | None]) -> T:
    """What is found, when there is something."""
    deadline = monotonic() + PATIENCE
    while not (it := found()):
        assert monotonic() < deadline, "it does not come"
        sleep(0.02)
    return it


def shell(**parameters: object) -> dict[str, Any]:
    return {"run": {"kind": "shell", "parameters": parameters}}


@pytest.fixture
def floor(on_postgres: Site, tmp_path: Path) -> Iterator[Floor]:
    with ExitStack() as stack:
        yield Floor(on_postgres, tmp_path, stack)


@pytest.fixture
def everywhere(site: Site, tmp_path: Path) -> Iterator[Floor]:
    with ExitStack() as stack:
        yield Floor(site, tmp_path, stack)


@pytest.fixture
def name(ticket: str) -> str:
    """The name of a runner of the test's own."""
    return f"r-{ticket}"


@pytest.fixture
def repository(tmp_path: Path) -> tuple[str, str]:
    """A repository, and its only commit."""
    path = tmp_path / "tower.git"

    def git(*arguments: str) -> str:
        said = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(path), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.strip()

    path.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    path.joinpath("answer").write_text("42\n")
    git("add", "answer")
    git("commit", "--quiet", "--message", "the answer")
    return str(path), git("rev-parse", "HEAD")


def test_a_workflow_is_run_with_its_sources_artifacts_and_results(
    everywhere: Floor, ticket: str, name: str, repository: tuple[str, str]
) -> None:
    url, commit = repository
    build = shell(
        steps=[
            {"name": "make", "run": "mkdir dist; cp answer dist/answer"},
            {"name": "say", "run": ["git", "log", "-1", "--format=%H"]},
        ],
        artifacts=["dist/*", "dist/*.rpm"],
    )
    unit = shell(command="grep 42 artifacts/build/dist/answer")
    everywhere.open(
        ticket,
        name,
        [
            {"name": "build", **build, "sources": [{"kind": "git", "url": url}]},
            {"name": "unit", **unit, "needs": ["build"], "takes": [{"task": "build"}]},
        ],
    )
    everywhere.start(name, "--slots", "2")
    assert "passed" == everywhere.ended(ticket)["state"]
    assert {"build": ("passed", 1), "unit": ("passed", 1)} == everywhere.states(ticket)
    assert [
        ("build/make", "passed"),
        ("build/say", "passed"),
        ("unit/command", "passed"),
    ] == everywhere.results(ticket)
    assert f"{commit}\n".encode() in everywhere.log(ticket, "build")
    kept = b"[turnstile] 1 artifact is kept; no file matches 'dist/*.rpm'\n"
    assert kept in everywhere.log(ticket, "build")
    assert b"\n42\n" in everywhere.log(ticket, "unit")


def test_the_first_step_that_fails_ends_the_task_but_for_what_always_runs(
    floor: Floor, ticket: str, name: str
) -> None:
    steps = [
        {"name": "fails", "run": "exit 3"},
        {"name": "not", "run": "echo never"},
        {"name": "cleans", "run": "echo clean", "if": "always"},
    ]
    floor.open(ticket, name, [{"name": "unit", **shell(steps=steps)}])
    floor.start(name)
    assert "failed" == floor.ended(ticket)["state"]
    assert [
        ("unit/cleans", "passed"),
        ("unit/fails", "failed"),
        ("unit/not", "skipped"),
    ] == floor.results(ticket)
    assert "step 'fails': exit status 3" == floor.tasks(ticket)["unit"]["reason"]


def test_whose_fault_it_is_that_nothing_ran_is_told(floor: Floor, ticket: str, name: str) -> None:
    missing = [{"kind": "git", "url": str(floor.folder / "nowhere")}]
    floor.open(
        ticket,
        name,
        [
            {"name": "nothing", "run": {"kind": "shell"}},
            {"name": "other", "run": {"kind": "container"}},
            {"name": "sources", **shell(command="true"), "sources": missing},
        ],
    )
    floor.start(name, "--slots", "3")
    assert "errored" == floor.ended(ticket)["state"]
    tasks = floor.tasks(ticket)
    assert {"configuration"} == {task["execution"] for task in tasks.values()}
    assert "neither a command nor steps" in tasks["nothing"]["reason"]
    assert "this runner runs 'shell'" in tasks["other"]["reason"]


def test_a_task_that_takes_too_long_has_timed_out(floor: Floor, ticket: str, name: str) -> None:
    task = {"name": "long", **shell(command="sleep 60"), "timeouts": {"run": 0.3}}
    floor.open(ticket, name, [task])
    floor.start(name)
    assert "failed" == floor.ended(ticket)["state"]
    assert {"long": ("timed_out", 1)} == floor.states(ticket)


def test_once_it_takes_what_one_claim_gives_and_ends(floor: Floor, ticket: str, name: str) -> None:
    tasks = [{"name": each, **shell(command="true")} for each in ("one", "two", "three")]
    floor.open(ticket, name, tasks)
    assert 0 == floor.start(name, "--once", "--slots", "2").end()
    until(lambda: sorted(state for state, _ in floor.states(ticket).values()).count("passed") == 2)
    assert 0 == floor.start(name, "--once", "--slots", "2").end()
    assert "passed" == floor.ended(ticket)["state"]


def test_told_to_end_it_finishes_what_it_has(floor: Floor, ticket: str, name: str) -> None:
    go = floor.folder / "go"
    wait = shell(command=f"until [ -e {go} ]; do sleep 0.05; done")
    floor.open(ticket, name, [{"name": "unit", **wait}])
    runner = floor.start(name)
    floor.at_work(ticket, "unit")
    runner.process.terminate()
    go.touch()
    assert 0 == runner.end()
    assert "passed" == floor.ended(ticket)["state"]
    gone = until(lambda: floor.site.anybody.get(f"/v1/workers/{name}").json())
    assert "gone" == gone["worker"]["state"]


def test_told_twice_to_end_it_hands_back_what_it_has(floor: Floor, ticket: str, name: str) -> None:
    floor.open(ticket, name, [{"name": "unit", **shell(command="sleep 600")}])
    runner = floor.start(name)
    floor.at_work(ticket, "unit")
    runner.process.terminate()
    until(lambda: "runner_drains" in floor.said(name))  # two signals at once may be one
    runner.process.terminate()
    assert 0 == runner.end()
    until(lambda: "claim_returned" in floor.happened(ticket))
    assert ("ready", 1) == floor.states(ticket)["unit"]
    assert [] == processes(runner.home)


def test_a_ticket_that_is_cancelled_ends_its_processes(
    floor: Floor, ticket: str, name: str
) -> None:
    command = "setsid sleep 600 & (trap '' TERM; sleep 600)"
    floor.open(ticket, name, [{"name": "unit", **shell(command=command)}])
    runner = floor.start(name)
    floor.at_work(ticket, "unit")
    until(lambda: len(processes(runner.home)) >= 3)
    floor.site.owner.post(f"/v1/tickets/{ticket}/cancel", json={})
    until(lambda: not [one for one in processes(runner.home) if "sleep" in one])


def test_a_task_that_is_taken_from_its_worker_is_run_again(
    floor: Floor, ticket: str, name: str
) -> None:
    go = floor.folder / "go"
    wait = shell(command=f"[ -e {go} ] || (touch {go}; sleep 600)")
    floor.open(ticket, name, [{"name": "unit", **wait}])
    floor.start(name)
    floor.at_work(ticket, "unit")
    until(go.exists)
    done = turnstile("revoke", ticket, "unit", "--reason", "it hangs", **floor.site.settings())
    assert f"{ticket}: unit is taken from its worker\n" == done.stdout
    assert "passed" == floor.ended(ticket)["state"]
    assert {"unit": ("passed", 2)} == floor.states(ticket)
    assert "claim_revoked" in floor.happened(ticket)
    again = turnstile("revoke", ticket, "unit", **floor.site.settings())
    assert (73, "turnstile: nobody has task") == (again.returncode, again.stderr[:26])


def test_nothing_is_left_of_a_runner_that_is_killed(floor: Floor, ticket: str, name: str) -> None:
    floor.open(ticket, name, [{"name": "unit", **shell(command="sleep 600 & sleep 600")}])
    runner = floor.start(name)
    floor.at_work(ticket, "unit")
    runner.process.kill()
    until(lambda: not processes(runner.home))


def test_a_killed_runner_comes_again_and_its_task_is_run_again(
    floor: Floor, ticket: str, name: str
) -> None:
    go = floor.folder / "go"
    wait = shell(command=f"until [ -e {go} ]; do sleep 0.05; done")
    floor.open(ticket, name, [{"name": "unit", **wait}])
    runner = floor.start(name)
    floor.at_work(ticket, "unit")
    runner.process.kill()
    runner.end()
    go.touch()
    floor.start(name, home=runner.home)
    assert "passed" == floor.ended(ticket)["state"]
    assert {"unit": ("passed", 2)} == floor.states(ticket)
    assert "lease_lost" in floor.happened(ticket)


def test_a_report_that_a_killed_runner_could_not_tell_is_told_by_the_next(
    floor: Floor, ticket: str, name: str
) -> None:
    floor.open(ticket, name, [{"name": "unit", **shell(command="exit 1")}])
    worker, home = f"/v1/workers/{name}", floor.folder / name
    with home_of(home) as held:
        registration = {"session": "s1", "home": held.id, "capabilities": {"worker": [name]}}
        assert 200 == floor.site.owner.put(worker, json=registration).status_code
        asked = {"session": "s1", "request": "q1", "wait": 10, "only": ["worker"]}
        [claimed] = floor.site.owner.post(f"{worker}/claims", json=asked).json()["tasks"]
        report = Reported(
            ticket=ticket, task="unit", token=claimed["token"], outcome=Outcome.PASSED
        )
        Reports(held.reports).keep(Kept(report, claimed["credential"]))
    floor.start(name)
    assert "passed" == floor.ended(ticket)["state"]
    assert {"unit": ("passed", 1)} == floor.states(ticket)
    until(lambda: not [*(home / "reports").iterdir()])


@contextmanager
def own_site(dsn: str, folder: Path, **settings: object) -> Iterator[Site]:
    """A service that nobody else asks."""
    schema = f"t_{os.urandom(6).hex()}"
    with running(folder / "data", DATABASE_URL=dsn, TURNSTILE_SCHEMA=schema, **settings) as site:
        yield site


def test_secrets_are_in_the_environment_and_nowhere_else(
    postgres_dsn: str, tmp_path: Path, ticket: str, name: str
) -> None:
    secrets = tmp_path / "secrets.toml"
    secrets.touch(mode=0o600)
    secrets.write_text('[key]\nvalue = "correct horse"\nprojects = ["tower"]\n')
    with own_site(postgres_dsn, tmp_path, TURNSTILE_SECRETS=secrets) as site, ExitStack() as stack:
        floor = Floor(site, tmp_path, stack)
        use = shell(command='echo "it is $KEY"; [ ${#KEY} = 13 ]', secrets={"KEY": "key"})
        other = shell(command="true", secrets={"KEY": "another"})
        floor.open(ticket, name, [{"name": "uses", **use}, {"name": "other", **other}])
        floor.start(name, "--slots", "2")
        assert "errored" == floor.ended(ticket)["state"]
        assert {"uses": ("passed", 1), "other": ("errored", 1)} == floor.states(ticket)
        assert b"it is ***" in floor.log(ticket, "uses")
        told = json.dumps(site.anybody.get(f"/v1/tickets/{ticket}/events").json())
        said = floor.said(name) + "".join(site.said)
        assert "correct horse" not in told + said


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_in_a_sandbox_a_task_has_its_sources_and_no_others_files(
    floor: Floor, ticket: str, name: str, repository: tuple[str, str]
) -> None:
    url, commit = repository
    command = f"git log -1 --format=%H; ls -A {floor.folder / name}; ! touch /usr/made"
    task = {"name": "unit", **shell(command=command), "sources": [{"kind": "git", "url": url}]}
    floor.open(ticket, name, [task])
    floor.start(name, "--provider", "sandbox", "--local", url)
    assert "passed" == floor.ended(ticket)["state"], floor.log(ticket, "unit").decode()
    log = floor.log(ticket, "unit").decode()
    assert f"{commit}\n" in log
    assert "reports" not in log


def test_who_is_kept_for_what_he_cannot_do_is_told_so(floor: Floor, name: str) -> None:
    done = turnstile("runner", "--name", name, "--only", "gpu", **floor.site.settings())
    assert 65 == done.returncode
    assert "--only gpu: the runner has none" in done.stderr


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_what_a_sandbox_hides_is_no_source_of_its_tasks_either(
    floor: Floor, ticket: str, name: str
) -> None:
    urls = {"home": str(floor.folder / name / "reports"), "other": str(floor.folder)}
    tasks = [
        {"name": task, **shell(command="true"), "sources": [{"kind": "directory", "url": url}]}
        for task, url in urls.items()
    ]
    floor.open(ticket, name, tasks)
    floor.start(name, "--provider", "sandbox", "--local", str(floor.folder / name))
    assert "errored" == floor.ended(ticket)["state"]
    assert dict.fromkeys(urls, ("errored", 1)) == floor.states(ticket)
    assert b"turnstile runner --local DIR" in floor.log(ticket, "home")


def test_who_fetches_sources_has_nothing_of_the_runners_settings(
    floor: Floor,
    ticket: str,
    name: str,
    repository: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = floor.folder / "told"
    git = floor.folder / "bin/git"
    git.parent.mkdir()
    git.write_text(f'#!/bin/sh\nenv >>{told}\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("OWN_TOKEN", "hunter2")
    source = {"kind": "git", "url": repository[0]}
    task = {"name": "unit", **shell(command="true"), "sources": [source]}
    floor.open(ticket, name, [task])
    floor.start(name)
    assert "passed" == floor.ended(ticket)["state"]
    names = {line.partition("=")[0] for line in told.read_text().splitlines()}
    assert {"TURNSTILE_HOME_ID", "TURNSTILE_ATTEMPT", "HOME", "PATH"} <= names
    assert not names & {"TURNSTILE_TOKEN", "TURNSTILE_URL", "OWN_TOKEN"}


def test_a_token_that_is_not_for_work_is_refused_with_advice(floor: Floor, name: str) -> None:
    made = floor.site.owner.post("/v1/tokens", json={"name": "reader", "scopes": ["read"]}).json()
    done = subprocess.run(
        [TURNSTILE, "runner", "--name", name, "--dir", str(floor.folder / name)],
        env=environment(**floor.site.settings(), TURNSTILE_TOKEN=made["token"]),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert 77 == done.returncode
    assert "turnstile token make NAME --scope work" in done.stderr
