"""`turnstile init`: the first workflow passes, whatever repository it is written in."""

import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.journey.a_runner import eventually, runner
from tests.journey.command import PATIENCE, TURNSTILE, environment
from tests.journey.running import Site, running

pytestmark = pytest.mark.service


def git(path: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, "-C", str(path), *arguments], check=True, capture_output=True)


def ask(site: Site, directory: Path, *arguments: str) -> str:
    """What a command that must do what it says prints."""
    ended = subprocess.run(
        [TURNSTILE, *arguments],
        env=environment(**site.settings()),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (0, "") == (ended.returncode, ended.stderr), ended
    return ended.stdout


def test_the_first_workflow_passes_in_a_repository_that_is_in_no_order(
    postgres_dsn: str, tmp_path: Path
) -> None:
    tower = tmp_path / "tower"
    tower.mkdir()
    git(tower, "init", "--quiet")
    (tower / "blanks").write_text("42 \t\n<<<<<<<\n")
    (tower / "dist").write_text("a file, and no directory")
    git(tower, "add", ".")
    git(tower, "commit", "--quiet", "--message", "in no order")
    alone = {"DATABASE_URL": postgres_dsn, "TURNSTILE_SCHEMA": f"t_{uuid4().hex[:12]}"}
    with running(tmp_path / "data", **alone) as site:
        ask(site, tower, "init")
        ask(site, tower, "submit", "ticket.toml", "--id", "first")
        ask(site, tower, "hold", "first", "publish", "--release")
        with runner(site, "r1", tmp_path / "r1"):
            tasks = eventually(lambda: ended(site))
    assert dict.fromkeys(("build", "lint", "unit", "publish"), "passed") == tasks


def ended(site: Site) -> dict[str, str]:
    """The tasks and their states, once the ticket has ended."""
    if site.seen("first", 1)["ended_at"] is None:
        return {}
    rows = site.anybody.get("/v1/tickets/first/tasks").json()["rows"]
    return {row["task"]: row["state"] for row in rows}
