"""The repository that the demonstration tests, however it was cloned."""

import subprocess
from pathlib import Path

import pytest

from tests.service.sources.repositories import Fetcher, Repository, git_source, head, refused
from workers.demo.repository import BUSY, OURS, PLAIN, NoRepository, served
from workers.demo.repository import head as head_of

pytestmark = pytest.mark.service


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    origin = Repository(tmp_path / "origin")
    origin.commit({"pyproject.toml": f"[project]\n{OURS}\n"})
    origin.commit({"a.txt": "two"})
    return origin


@pytest.fixture
def clone(origin: Repository, tmp_path: Path) -> Path:
    """Shallow, detached, and without any branch."""
    place = tmp_path / "clone"
    url = f"file://{origin.path}"
    for command in (
        ["git", "clone", "--quiet", "--depth=1", url, str(place)],
        ["git", "-C", str(place), "checkout", "--quiet", "--detach"],
        ["git", "-C", str(place), "branch", "--quiet", "-D", "main"],
        ["git", "-C", str(place), "remote", "remove", "origin"],
    ):
        subprocess.run(command, check=True)
    return place


@pytest.fixture
def runner(tmp_path: Path) -> Fetcher:
    (tmp_path / "runner").mkdir()
    return Fetcher(tmp_path / "runner")


async def test_a_shallow_clone_without_a_branch_is_served(
    clone: Path, runner: Fetcher, tmp_path: Path
) -> None:
    found = head_of(clone)
    assert (head(clone), "HEAD", False) == (found.revision, found.name, found.has_changes)
    async with served(found, tmp_path / "git") as server:
        place = await runner(git_source(f"{server.url}/{PLAIN}", found.revision, depth=1))
        assert found.revision == head(place)
        busy = git_source(f"{server.url}/{BUSY}", found.revision, depth=1, tries=1)
        _, reason = await refused(runner, busy)
        assert "503" in reason
        assert found.revision == head(await runner(busy))


def test_what_is_not_committed_is_noticed_from_any_directory(clone: Path) -> None:
    (clone / "inside").mkdir()
    (clone / "inside" / "b.txt").write_text("new")
    found = head_of(clone / "inside")
    assert (clone, True) == (found.path, found.has_changes)


def test_another_repository_is_not_shown(tmp_path: Path) -> None:
    other = Repository(tmp_path / "other")
    other.commit({"pyproject.toml": '[project]\nname = "tower"\n'})
    with pytest.raises(NoRepository, match="is not Turnstile's repository"):
        head_of(other.path)


def test_where_there_is_no_repository_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoRepository, match="not a git repository"):
        head_of(tmp_path)
