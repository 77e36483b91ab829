"""The port: all sources of a task, fetched into its work directory."""

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from adapters.sources import archive, directory, git
from adapters.sources.attempt import Attempt
from adapters.sources.failures import NotFetched, mistaken
from adapters.sources.local import Local
from adapters.sources.places import made, placed, tries
from adapters.sources.threads import Wanted, in_thread
from domain.workflow import Source

PAUSE: Final = 1.0
"""Seconds before a server is asked for the second time."""


class Kind(Protocol):
    """How one kind of source is fetched."""

    async def place(self, source: Source, place: Path, attempt: Attempt) -> None:
        """Fill the empty directory. Raises NotFetched; Away if it is worth another try."""


KINDS: Final[Mapping[str, Kind]] = {"archive": archive, "directory": directory, "git": git}


async def fetch(
    sources: Sequence[Source],
    directory: Path,
    *,
    mirrors: Path,
    tell: Callable[[bytes], Awaitable[None]],
    environment: Mapping[str, str] = {},
    deadline: float,
    pause: float = PAUSE,
    local: Local | None = None,
) -> Sequence[Path]:
    """Place all *sources* below *directory*, which exists and where nothing is that they bring.

    Returns what of the *mirrors* they need as long as they are there, only to read it.

    What is done, and each try that failed, is told as lines for the attempt's log. The
    *environment* is the runner's (marks on its processes), never the ticket's: programs obey it.
    What else they need of ours (a proxy, an ssh agent) they have without being told. The
    *deadline* is an instant of the event loop's clock. With a rule for what is *local*, nothing
    else of this machine is a source. Cancelled, nothing is left running.

    Raises:
        NotFetched: with whose fault it is.
    """
    attempt = Attempt(mirrors, tell, environment, deadline, pause, local)
    for source, path in placed(sources):
        kind = KINDS.get(source.kind)
        if kind is None:
            known = ", ".join(sorted(KINDS))
            raise mistaken(f"source {source.kind!r} is of no kind that a runner knows: {known}")
        place = made(directory, path)
        try:
            await attempt.again(
                f"{source.kind} {path}",
                partial(_place, kind, source, place, attempt),
                tries=tries(source),
            )
        except NotFetched as failed:
            await attempt.say(f"{source.kind} {path}: not fetched: {failed.reason}")
            raise
    return sorted(attempt.borrowed)


async def _place(kind: Kind, source: Source, place: Path, attempt: Attempt) -> None:
    """One try; what an earlier one has left would be in its way."""
    await in_thread(partial(_clear, place))
    await kind.place(source, place, attempt)


def _clear(place: Path, wanted: Wanted) -> None:
    for one in place.iterdir():
        wanted.check()
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
