"""Real git repositories for tests, and what fetching from them needs."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapters.sources import NotFetched, fetch
from domain.ticket.words import Execution
from domain.workflow import Source

SOMEBODY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@localhost",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@localhost",
}


class Repository:
    """A repository whose author is at work."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", *options)

    def git(self, *arguments: str) -> str:
        told = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.path,
            env={"PATH": os.environ["PATH"], **SOMEBODY},
            check=True,
            capture_output=True,
            text=True,
        )
        return told.stdout.strip()

    def commit(self, files: Mapping[str, str]) -> str:
        """A commit with these files; its name."""
        for name, content in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", " ".join(files) or "nothing")
        return self.git("rev-parse", "HEAD")


class Fetcher:
    """A runner that fetches. `log` is what attempts were told, `borrowed` what the last needs."""

    def __init__(self, home: Path) -> None:
        self.mirrors = home / "mirrors"
        self.log = ""
        self.borrowed: Sequence[Path] = ()
        self._home = home
        self._count = 0

    def place(self) -> Path:
        """The work directory of another attempt."""
        self._count += 1
        place = self._home / f"attempt-{self._count}"
        place.mkdir()
        return place

    async def __call__(self, *sources: Source, seconds: float = 60, **options: Any) -> Path:
        place = options.pop("place", None) or self.place()
        deadline = asyncio.get_running_loop().time() + seconds
        self.borrowed = await fetch(
            sources,
            place,
            mirrors=self.mirrors,
            tell=self._tell,
            deadline=deadline,
            pause=0.01,
            **options,
        )
        return place

    async def _tell(self, part: bytes) -> None:
        self.log += part.decode()


def git_source(url: object, revision: str | None = None, **parameters: Any) -> Source:
    return Source("git", str(url), revision, parameters)


async def until(fact: Callable[[], object]) -> None:
    """Wait for it; what takes half a minute never comes."""
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.005)


def head(place: Path) -> str:
    command = ["git", "-C", str(place), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def git(place: Path, *arguments: str) -> str:
    command = ["git", "-C", str(place), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def refused(runner: Fetcher, *sources: Source, **options: Any) -> tuple[Execution, str]:
    with pytest.raises(NotFetched) as failed:
        await runner(*sources, **options)
    return failed.value.execution, failed.value.reason


def marked(mark: dict[str, str]) -> list[int]:
    """The processes with a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark.items() <= process.environ().items():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
