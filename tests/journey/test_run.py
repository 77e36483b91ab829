"""`turnstile run -- COMMAND`: the shortest way in."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp
from uuid import uuid4

import pytest

from adapters.client import Claims, WorkerClient
from adapters.config import Config
from tests.journey.command import PATIENCE, TURNSTILE, environment, processes
from tests.journey.running import Site
from workers import trying

pytestmark = pytest.mark.service


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, and a change that is not in it."""
    path = tmp_path / "tower"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    path.joinpath("answer").write_text("42\n")
    git(path, "add", "answer")
    git(path, "commit", "--quiet", "--message", "the answer")
    path.joinpath("answer").write_text("43\n")
    return path


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for all that is temporary, which the bundled server's own user reaches."""
    path = Path(mkdtemp(prefix="turnstile-test-"))
    path.chmod(0o711)
    yield path
    rmtree(path)


def git(path: Path, *arguments: str) -> str:
    said = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(path), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout.strip()


def run(directory: Path, *arguments: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [TURNSTILE, "run", *arguments],
        env=environment(**settings),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_with_nothing_prepared_a_command_is_tested_on_the_present_commit(
    repository: Path, temporary: Path
) -> None:
    data = temporary / "data"
    settings = {"TURNSTILE_DATA": data, "TURNSTILE_HTTP": "127.0.0.1:1", "TMPDIR": temporary}
    done = run(repository, "--", "cat", "answer", **settings)
    assert 0 == done.returncode, done.stderr
    assert "\n42\n" in done.stdout
    assert "what is not committed is not tested" in done.stderr
    assert done.stderr.endswith(": passed\n")
    assert data.joinpath("token").exists()
    assert [] == processes(temporary)


def test_its_command_has_the_path_of_who_runs_it(on_postgres: Site, repository: Path) -> None:
    own = repository.parent / "bin"
    own.mkdir()
    (own / "tower-check").write_text("#!/bin/sh\necho checked by $0\n")
    (own / "tower-check").chmod(0o755)
    path = {"PATH": f"{own}:{os.environ['PATH']}"}
    done = run(repository, "--", "tower-check", **on_postgres.settings(), **path)
    assert 0 == done.returncode, done.stderr
    assert f"checked by {own}/tower-check\n" in done.stdout
    done = run(repository, "--", "no-such-check", **on_postgres.settings(), **path)
    assert 1 == done.returncode
    assert f"'no-such-check' cannot be run: it is not on the PATH, {own}:" in done.stdout


@pytest.mark.skipif(which("bwrap") is None, reason="bubblewrap is not installed")
def test_in_a_sandbox_it_has_its_repository(on_postgres: Site, repository: Path) -> None:
    options = ("--provider", "sandbox", "--", "cat", "answer")
    done = run(repository, *options, **on_postgres.settings())
    assert 0 == done.returncode, done.stderr
    assert "\n42\n" in done.stdout


def test_where_a_service_listens_it_has_the_ticket(on_postgres: Site, repository: Path) -> None:
    done = run(repository, "--artifact", "answer", "--", "false", **on_postgres.settings())
    assert 1 == done.returncode, done.stderr
    assert "=== command: exit status 1" in done.stdout
    ticket = done.stderr.rpartition("\n")[0].rpartition("\n")[2].partition(":")[0]
    row = on_postgres.anybody.get(f"/v1/tickets/{ticket}").json()
    assert "failed" == row["state"]
    assert git(repository, "rev-parse", "HEAD") == row["revision"]
    [attempt] = on_postgres.anybody.get(f"/v1/tickets/{ticket}/attempts").json()["rows"]
    assert ["answer"] == [one["name"] for one in attempt["artifacts"]]


def test_its_runner_takes_nobody_elses_task(on_postgres: Site, repository: Path) -> None:
    ticket = on_postgres.open(f"urgent-{uuid4().hex[:8]}", "A", priority=1_000_000)["ticket"]
    done = run(repository, "--", "true", **on_postgres.settings())
    assert 0 == done.returncode, done.stderr
    assert [] == on_postgres.anybody.get(f"/v1/tickets/{ticket}/attempts").json()["rows"]
    on_postgres.owner.post(f"/v1/tickets/{ticket}/cancel").raise_for_status()


async def test_where_its_runner_gets_nothing_it_says_so_and_the_ticket_is_cancelled(
    on_postgres: Site, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "WAIT", 0.0)
    monkeypatch.setattr(trying, "ENDING", 0.1)
    monkeypatch.setattr(WorkerClient, "claim", nothing)
    opened: list[str] = []
    config = Config(url=on_postgres.url, token=on_postgres.token)
    commit, wanted = trying.present_commit(repository), trying.Wanted(command=["true"])
    with pytest.raises(trying.NotTried, match="its runner got nothing"):
        await trying.trying(config, commit, wanted, trying.Told(opened.append, lambda said: None))
    assert "cancelled" == on_postgres.seen(opened[0], 3)["state"]


async def nothing(self: WorkerClient, tasks: int, **_: object) -> Claims:
    """What a claim gives that comes too late."""
    return Claims((), "available")


def test_outside_of_a_repository_it_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "--", "true", TURNSTILE_DATA=tmp_path / "data")
    assert 66 == done.returncode
    assert "not a git repository" in done.stderr
