"""Mirrors that nobody needs are taken away: unused for long, or the oldest of too much."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from adapters.sources.git.locks import Taken, locked
from adapters.sources.git.mirror import remove
from adapters.sources.threads import Wanted, in_thread

SIZE: Final = 20 * 1024**3
"""Bytes of all mirrors that may stay although no attempt needs them."""

UNUSED: Final = 14 * 86_400.0
"""Seconds after which a mirror that nobody has used goes."""


async def prune(mirrors: Path, *, size: int = SIZE, unused: float = UNUSED) -> list[Path]:
    """Take mirrors away until the rest is small and young enough; those that went.

    One that an attempt borrows from stays, as does one that somebody writes into. For a runner's
    start, and once in a while. Raises OSError.
    """
    seen = await in_thread(lambda wanted: list(_seen(mirrors, wanted)))
    total = sum(bytes_ for _, bytes_, _ in seen)
    gone = []
    for used, bytes_, directory in sorted(seen):
        if used > time.time() - unused and total <= size:
            break
        if await _removed(directory):
            total -= bytes_
            gone.append(directory)
    return gone


async def _removed(directory: Path) -> bool:
    if ".gone-" in directory.name:  # somebody was killed over it
        await remove(directory)
        return True
    try:
        async with (
            locked(directory.with_name(f"{directory.name}.writing"), waits=False),
            locked(directory.with_name(f"{directory.name}.present"), waits=False),
        ):
            if _is_borrowed(directory):
                return False
            await remove(directory)
            return True
    except Taken:
        return False


def _is_borrowed(directory: Path) -> bool:
    """Whether the work tree of an attempt is still there. Notes of those that are not go."""
    is_borrowed = False
    for note in directory.glob("borrowers/*"):
        place = note.read_text()
        if place and Path(place).exists():
            is_borrowed = True
        else:
            note.unlink(missing_ok=True)
    return is_borrowed


def _seen(mirrors: Path, wanted: Wanted) -> Iterator[tuple[float, int, Path]]:
    """When each mirror was used last, its bytes, and where it is."""
    for directory in mirrors.glob("*/"):
        used = 0.0 if ".gone-" in directory.name else directory.stat().st_mtime
        with suppress(OSError):
            used = (directory / "used").stat().st_mtime
        bytes_ = 0
        for folder, _, files in os.walk(directory):
            wanted.check()
            for name in files:
                with suppress(OSError):
                    bytes_ += (Path(folder) / name).stat().st_size
        yield used, bytes_, directory
