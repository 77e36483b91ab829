"""A directory of the runner's machine, copied.

Links are copied as links and never followed, so that what is copied ends where the directory ends.
Sockets, pipes and devices stay where they are.
"""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from adapters.sources.attempt import Attempt
from adapters.sources.failures import mistaken
from adapters.sources.places import parameters
from adapters.sources.threads import Wanted, in_thread
from domain.sources import Placed
from domain.workflow import Source


async def place(source: Source, place: Path, attempt: Attempt) -> None:
    """Copy the directory. Raises NotFetched, OSError."""
    parameters(source, Placed)
    location = attempt.located(source.url, ("file",))
    if source.revision is not None:
        raise mistaken("a directory has no revision")
    there = location.path
    if there is None or not there.is_dir():
        raise mistaken(f"there is no directory {location.shown}")
    if attempt.local is not None and attempt.local.hides_in(there):
        raise mistaken(f"{location.shown} has something in itself that no task is to see")
    left = await in_thread(partial(_copy, there, place))
    if left is None:
        raise mistaken(f"{location.shown} has the work directory in itself")
    await attempt.say(f"Copied {location.shown}")
    for name in left:
        await attempt.say(f"Left out {name}: it is neither a file, a directory nor a link")


def _copy(there: Path, place: Path, wanted: Wanted) -> list[str] | None:
    """Copy what can be; the names of what cannot. None if there would be no end to it."""
    if place.resolve().is_relative_to(there.resolve()):
        return None
    left: list[str] = []
    for entry, to in _entries(there, place):
        wanted.check()
        if entry.is_symlink():
            to.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            to.mkdir()
        elif entry.is_file():
            shutil.copy2(entry.path, to, follow_symlinks=False)
        else:
            left.append(os.path.relpath(entry.path, there))
    return left


def _entries(there: Path, place: Path) -> Iterator[tuple[os.DirEntry[str], Path]]:
    """All that is in a directory, with where it goes; a directory before what is in it."""
    with os.scandir(there) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            yield entry, place / entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(Path(entry.path), place / entry.name)
