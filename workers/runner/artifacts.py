"""Artifacts: what a task leaves is collected and stored; what it takes is placed before it runs."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Sequence
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Final, Protocol

from adapters.client import AttemptClient
from domain.ticket.words import Artifact

MOST: Final = 1_000
"""Artifacts of one attempt."""

AT_ONCE: Final = 4
"""Artifacts that are on their way at the same time."""

NAME: Final = 1_024
"""Characters of a name."""


class Unfit(Exception):
    """What a task leaves cannot be its artifacts, or what it takes cannot be placed."""


class Input(Protocol):
    """An artifact of another task, to be there before the run."""

    @property
    def task(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...


def collect(directory: Path, globs: Iterable[str]) -> tuple[Artifact, ...]:
    """The files below a directory that a pattern matches, by name; each once.

    A name is the path from the directory. Links that lead out of it, and whatever is no plain file,
    are left out. Raises Unfit for too many files, names that no event can hold, and patterns that
    lead out of the directory.
    """
    root = directory.resolve()
    found: dict[str, Path] = {}
    for pattern in globs:
        parts = PurePosixPath(pattern).parts
        if not parts or ".." in parts or PurePosixPath(pattern).is_absolute():
            raise Unfit(f"the pattern {pattern!r} leads out of the work directory")
        for path in root.glob(pattern):
            if not path.is_file() or not path.resolve().is_relative_to(root):
                continue
            found[path.relative_to(root).as_posix()] = path
            if len(found) > MOST:
                raise Unfit(f"there are more than {MOST} artifacts")
    return tuple(_artifact(name, found[name]) for name in sorted(found))


def _artifact(name: str, path: Path) -> Artifact:
    if len(name) > NAME or not name.isprintable():
        raise Unfit(f"{name!r} is no name for an artifact")
    # What was a plain file a moment ago may be something else that never ends.
    descriptor = os.open(path.resolve(), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not S_ISREG(status.st_mode):
            raise Unfit(f"{name!r} is no plain file any more")
        digest = file_digest(file, "sha256").hexdigest()
        return Artifact(name=name, digest=f"sha256:{digest}", size=file.tell())


async def store(client: AttemptClient, directory: Path, artifacts: Sequence[Artifact]) -> None:
    """Store what was collected in a directory; what is there already is not sent.

    Raises what the client raises.
    """
    turn = asyncio.Semaphore(AT_ONCE)
    files = {one.digest: directory / one.name for one in artifacts}

    async def one(digest: str, file: Path) -> None:
        async with turn:
            if not await client.has_artifact(digest):
                await client.put_artifact(digest, file)

    await _all([one(digest, file) for digest, file in files.items()])


async def place(client: AttemptClient, inputs: Sequence[Input], directory: Path) -> None:
    """Have each input at `artifacts/<task>/<name>` below a directory.

    Raises Unfit for a name that leads out of there, and what the client raises.
    """
    turn = asyncio.Semaphore(AT_ONCE)
    root = directory / "artifacts"
    places = {root / each.task / _inside(each.name): each.digest for each in inputs}

    async def one(digest: str, file: Path) -> None:
        async with turn:
            await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
            await client.get_artifact(digest, file)

    await _all([one(digest, file) for file, digest in places.items()])


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or ".." in path.parts or path.is_absolute() or "\\" in name:
        raise Unfit(f"the artifact {name!r} would lie outside of its place")
    return name


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Everything, or the first error; nothing goes on behind it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
