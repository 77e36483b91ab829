"""The directory of a runner: what it keeps between its lives, and what the next one clears away."""

import fcntl
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final, TypeVar

import msgspec
import structlog
from msgspec import Struct

from adapters.sources.threads import in_thread
from workers.runner.clearing import PRIVATE, clear

log = structlog.get_logger()

T = TypeVar("T")

BEGUN: Final = ".begun"
"""How the name of a file ends that is not whole yet."""

_IS_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII).fullmatch


class HomeTaken(Exception):
    """Another runner has the directory {path}: give this one a directory of its own by --dir."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(self.__doc__).format(path=path))


class Home(Struct, frozen=True):
    """A runner's directory, held against every other runner.

    The `id` is its own for ever, and says that a runner which comes again is the same. In
    `mirrors` is what sources were fetched from, in `work` a place for each attempt under way, in
    `reports` what the service has not taken yet.
    """

    id: str
    path: Path

    @property
    def mirrors(self) -> Path:
        """Where copies of repositories are."""
        return self.path / "mirrors"

    @property
    def work(self) -> Path:
        """Where attempts have their places."""
        return self.path / "work"

    @property
    def reports(self) -> Path:
        """Where reports wait."""
        return self.path / "reports"

    def clear(self) -> None:
        """Remove the places that an earlier runner has left; what it ran must be gone before."""
        for place in self.work.iterdir():
            clear(place)

    @asynccontextmanager
    async def place(self, ticket: str, token: int) -> AsyncIterator[Path]:
        """An empty place for an attempt, removed in the end. Raises OSError."""
        place = self.work / f"{ticket}~{token}"
        await in_thread(lambda _: clear(place))
        place.mkdir(mode=PRIVATE)
        try:
            yield place
        finally:
            await in_thread(lambda _: clear(place))


@contextmanager
def home(path: Path) -> Iterator[Home]:
    """Hold a directory, made if need be, with nothing left of attempts. Raises HomeTaken, OSError.

    Whoever was killed left its attempts' places; what they ran must be gone before.
    """
    path = path.resolve()
    path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    with (path / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeTaken(path) from error
        held = Home(_id(path / "id"), path)
        for folder in (held.mirrors, held.work, held.reports):
            folder.mkdir(mode=PRIVATE, exist_ok=True)
        for begun in held.reports.glob(f"*{BEGUN}"):  # by one who was killed over it
            begun.unlink()
        yield held


def _id(file: Path) -> str:
    """Its own id: another one if what is there is none, as after a disk that was full."""
    with suppress(FileNotFoundError):
        kept = file.read_text(errors="replace").strip()
        if _IS_ID(kept):
            return kept
        log.error("not_readable", file=str(file), reason="it is no id")
    made = token_hex(8)
    write(file, made.encode())
    return made


def write(file: Path, content: bytes) -> None:
    """Have a file with this content, whole, also after a power cut."""
    beside = file.with_name(f"{file.name}{BEGUN}")
    with beside.open("wb") as begun:
        begun.write(content)
        begun.flush()
        os.fsync(begun.fileno())
    beside.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_all(folder: Path, kind: type[T]) -> Sequence[tuple[Path, T]]:
    """What the files of a folder hold, in the order of their names; what is none is put aside."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            found.append((file, msgspec.json.decode(file.read_bytes(), type=kind)))
        except (OSError, msgspec.MsgspecError) as error:
            log.error("not_readable", file=str(file), reason=str(error))
            file.rename(file.with_suffix(".unreadable"))
    return found
