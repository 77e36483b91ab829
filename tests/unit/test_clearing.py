"""What a task has left is removed, however deep, whatever modes it has, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

from workers.runner.clearing import clear

NOBODY = 65534

DEEP = """
import os
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
open("f", "w").close()
"""


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_tree_deeper_than_any_path_or_stack_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run([sys.executable, "-c", DEEP], cwd=place, check=True)
    clear(place)
    assert [] == names(tmp_path)


def test_what_may_not_be_entered_is_removed_too(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "a" / "b" / "c").mkdir(parents=True)
    (place / "a" / "b" / "c" / "file").touch(mode=0o000)
    for closed in ("a/b/c", "a/b", "a"):
        (place / closed).chmod(0o000)
    tmp_path.chmod(0o777)
    _unprivileged(place)
    assert [] == names(tmp_path)


def _unprivileged(place: Path) -> None:
    """Clear it as somebody whom modes concern."""
    if os.getuid():
        clear(place)
        return
    for path in [place, *place.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    try:
        os.chdir(place.parent)  # whose parents may be closed to him
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        clear(Path(place.name))
    finally:
        os._exit(0)


def test_links_are_removed_and_what_they_lead_to_is_as_it_was(tmp_path: Path) -> None:
    outside, place = tmp_path / "outside", tmp_path / "place"
    outside.mkdir(mode=0o751)
    (outside / "kept").write_text("kept")
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "link").symlink_to(outside)
    (place / "link").symlink_to(outside / "kept")
    os.mkfifo(place / "pipe")
    clear(place)
    assert ["outside"] == names(tmp_path)
    assert (0o751, "kept") == (outside.stat().st_mode & 0o777, (outside / "kept").read_text())


def test_a_place_that_is_a_link_a_file_or_nothing_is_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "file").touch()
    for name in ("link", "file", "nothing"):
        clear(tmp_path / name)
    assert ["outside"] == names(tmp_path)
