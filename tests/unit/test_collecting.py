"""What a task leaves as artifacts, and what it does not."""

import os
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from adapters.sources.threads import Abandoned, Wanted
from domain.ticket.words import Artifact
from workers.runner.artifacts import MOST, NAME, Unfit, collect


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(root: Path, *globs: str) -> list[str]:
    return [one.name for one in collect(root, globs).artifacts]


def test_files_are_found_by_pattern_once_and_in_order(tmp_path: Path) -> None:
    put(tmp_path, "dist/b.rpm", "dist/a.rpm", "dist/deep/c.rpm", "log.txt")
    assert ["dist/a.rpm", "dist/b.rpm"] == names(tmp_path, "dist/*.rpm", "dist/a*")
    assert ["dist/a.rpm", "dist/b.rpm", "dist/deep/c.rpm"] == names(tmp_path, "**/*.rpm")


def test_patterns_that_no_file_matches_are_told(tmp_path: Path) -> None:
    put(tmp_path, "dist/a.rpm")
    globs = ["*.deb", "dist/*", "dist", "dist/*.rpm", "*.deb"]
    assert ("*.deb", "dist") == collect(tmp_path, globs).unmatched


def test_an_artifact_has_its_digest_and_its_size(tmp_path: Path) -> None:
    put(tmp_path, "some")
    digest = f"sha256:{sha256(b'some').hexdigest()}"
    assert (Artifact(name="some", digest=digest, size=4),) == collect(tmp_path, ["*"]).artifacts


def test_nothing_from_without_is_taken(tmp_path: Path) -> None:
    work = tmp_path / "work"
    put(tmp_path, "secret", "work/mine", "elsewhere/theirs")
    (work / "link").symlink_to("../secret")
    (work / "folder").symlink_to("../elsewhere")
    (work / "own").symlink_to("mine")
    (work / "nothing").symlink_to("gone")
    os.mkfifo(work / "pipe")
    assert ["mine", "own"] == names(work, "*", "**/*", "folder/*")


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "a/../../b", ""])
def test_a_pattern_that_leads_out_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(Unfit, match="leads out"):
        collect(tmp_path, [pattern])


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="from there on it is a pattern")
def test_what_is_no_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match=r"'build/\*\*\.deb' is none"):
        collect(tmp_path, ["build/**.deb"])


def test_a_name_that_no_event_can_hold_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "two\nlines")
    with pytest.raises(Unfit, match="no name"):
        collect(tmp_path, ["*"])


def test_too_many_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *(f"{n}" for n in range(MOST + 1)))
    with pytest.raises(Unfit, match="more than"):
        collect(tmp_path, ["*"])


def test_long_names_together_are_more_than_an_event_holds(tmp_path: Path) -> None:
    folder = "/".join(["f" * 200] * 4)
    assert len(folder) < NAME
    put(tmp_path, *(f"{folder}/{n}" for n in range(300)))
    with pytest.raises(Unfit, match="in all"):
        collect(tmp_path, ["**/*"])


def test_a_directory_that_a_task_has_made_a_link_is_not_followed_out(tmp_path: Path) -> None:
    put(tmp_path, "private/token", "work/own/file")
    tree = tmp_path / "work"
    (tree / "sub").symlink_to(tmp_path / "private")
    (tree / "same").symlink_to("own")
    with pytest.raises(Unfit, match="leads out"):
        collect(tree / "sub", ["*"], tree=tree)
    within = collect(tree / "same", ["*"], tree=tree).artifacts
    assert ["file"] == [one.name for one in within]


def test_what_nobody_wants_any_more_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    wanted = Wanted()
    wanted.give_up()
    with pytest.raises(Abandoned):
        collect(tmp_path, ["*"], wanted=wanted)
