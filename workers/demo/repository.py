"""This repository, as it is at HEAD, for runners to fetch from a git server of our own."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from workers.demo.git_server import GitServer, serving

PLAIN: Final = "turnstile.git"
BUSY: Final = "busy.git"
"""The same repository by another name: who asks for it first is refused."""

OURS: Final = 'name = "turnstile-server"'
"""What stands in pyproject.toml of the repository that is shown."""

_ANY: Final = ("-c", "safe.directory=*")


class NoRepository(Exception):
    """The demonstration tests the repository of Turnstile in which one is, and there is none."""


class Head(Struct, frozen=True):
    """A commit: where its repository is, what it is called, and whether there is more than it."""

    path: Path
    revision: str
    name: str
    has_changes: bool


def head(directory: Path) -> Head:
    """The commit at HEAD where *directory* is. Raises NoRepository."""
    path = Path(_git(directory, "rev-parse", "--show-toplevel"))
    revision = _git(path, "rev-parse", "--verify", "HEAD^{commit}")
    if OURS not in _git(path, "show", "HEAD:./pyproject.toml"):
        raise NoRepository(f"{path} is not Turnstile's repository: run it in a clone of that")
    return Head(
        path,
        revision,
        _git(path, "rev-parse", "--abbrev-ref", "HEAD"),
        has_changes=bool(_git(path, "status", "--porcelain")),
    )


@asynccontextmanager
async def served(head: Head, folder: Path) -> AsyncIterator[GitServer]:
    """The commit, under both names, from a server on loopback. Raises NoRepository."""
    for name in (PLAIN, BUSY):
        _copy(head, folder / name)
    async with serving(folder) as server:
        server.refuse(1, BUSY)
        yield server


def _copy(head: Head, place: Path) -> None:
    """That commit alone: a clone may be shallow, detached, or without a branch."""
    place.mkdir(parents=True)
    _git(place, "init", "--quiet", "--bare", "--initial-branch=main")
    _git(
        place,
        *("fetch", "--quiet", "--depth=1", f"--upload-pack=git {' '.join(_ANY)} upload-pack"),
        *(f"file://{head.path}", "+HEAD:refs/heads/main"),
    )


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", *_ANY, "-C", str(directory), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoRepository(f"git: {error.strerror}") from error
    if said.returncode:
        reason = (said.stderr.strip().splitlines() or ["it failed"])[-1]
        raise NoRepository(f"{NoRepository.__doc__} ({directory}: {reason})")
    return said.stdout.strip()
