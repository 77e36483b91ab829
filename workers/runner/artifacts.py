"""Artifacts: what a task leaves is collected and stored; what it takes is placed before it runs."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from adapters.client import AttemptClient
from adapters.sources.threads import Wanted
from domain.ticket.words import Artifact

MOST: Final = 1_000
"""Artifacts of one attempt."""

AT_ONCE: Final = 4
"""Artifacts that are on their way at the same time."""

NAME: Final = 1_024
"""Characters of a name."""

NAMES: Final = 160 * 1024
"""Bytes of all names together, as JSON: the event that ends the attempt holds them."""

PART: Final = 1024 * 1024
"""Bytes that are read together."""


class Unfit(Exception):
    """What a task leaves cannot be its artifacts, or what it takes cannot be placed."""


class Collected(Struct, frozen=True):
    """What a task has left, by name, and the patterns that nothing matched."""

    artifacts: tuple[Artifact, ...]
    unmatched: tuple[str, ...] = ()


class Input(Protocol):
    """An artifact of another task, to be there before the run."""

    @property
    def task(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...


def collect(
    directory: Path,
    globs: Iterable[str],
    *,
    tree: Path | None = None,
    wanted: Wanted | None = None,
) -> Collected:
    """The files below a directory that a pattern matches, by name; each once.

    A name is the path from the directory. Links that lead out of it, and whatever is no plain file,
    are left out. The directory lies in the work *tree*, if one is given, or a task has put a link
    in its place: nothing of what that leads to is the task's.

    Raises:
        Unfit: too many files, names that no event can hold, patterns that are none, patterns or a
            directory that lead out.
        Abandoned: nobody *wanted* it to the end.
    """
    wanted = wanted or Wanted()
    root = directory.resolve()
    if tree is not None and not root.is_relative_to(tree.resolve()):
        raise Unfit("the directory of the task leads out of the work directory")
    found: dict[str, Path] = {}
    unmatched = dict.fromkeys(globs)
    for pattern in tuple(unmatched):
        parts = PurePosixPath(pattern).parts
        if not parts or ".." in parts or PurePosixPath(pattern).is_absolute():
            raise Unfit(f"the pattern {pattern!r} leads out of the work directory")
        for path in _matching(root, pattern):
            wanted.check()
            if not path.is_file() or not path.resolve().is_relative_to(root):
                continue
            found[path.relative_to(root).as_posix()] = path
            unmatched.pop(pattern, None)
            if len(found) > MOST:
                raise Unfit(f"there are more than {MOST} artifacts")
    for name in found:
        if len(name) > NAME or not name.isprintable():
            raise Unfit(f"{name[:NAME]!r} is no name for an artifact")
    if sum(len(msgspec.json.encode(name)) for name in found) > NAMES:
        raise Unfit(f"the names of the artifacts are longer than {NAMES} bytes in all")
    artifacts = tuple(_artifact(name, found[name], wanted) for name in sorted(found))
    return Collected(artifacts, tuple(unmatched))


def _matching(root: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from root.glob(pattern)
    except ValueError as error:  # what is a pattern differs between Pythons
        raise Unfit(f"the pattern {pattern!r} is none: {error}") from error


def _artifact(name: str, path: Path, wanted: Wanted) -> Artifact:
    # What was a plain file a moment ago may be something else that never ends.
    descriptor = os.open(path.resolve(), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not S_ISREG(status.st_mode):
            raise Unfit(f"{name!r} is no plain file any more")
        digest = sha256()
        while part := file.read(PART):
            wanted.check()
            digest.update(part)
        return Artifact(name=name, digest=f"sha256:{digest.hexdigest()}", size=file.tell())


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

    Raises Unfit for a name that leads out of there, or where the sources have something else, and
    what the client raises.
    """
    turn = asyncio.Semaphore(AT_ONCE)
    root = directory / "artifacts"
    places = {root / each.task / _inside(each.name): each.digest for each in inputs}

    async def one(digest: str, file: Path) -> None:
        async with turn:
            await asyncio.to_thread(_make_room, directory, file)
            await client.get_artifact(digest, file)

    await _all([one(digest, file) for file, digest in places.items()])


def _make_room(directory: Path, file: Path) -> None:
    """The folders of a file: a link that the sources have there would lead anywhere."""
    place = directory
    for part in file.parent.relative_to(directory).parts:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise Unfit(f"the sources have {str(place.relative_to(directory))!r}, but no folder")
        place.mkdir(exist_ok=True)
    if file.is_dir() and not file.is_symlink():
        raise Unfit(f"the sources have a folder at {str(file.relative_to(directory))!r}")


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
