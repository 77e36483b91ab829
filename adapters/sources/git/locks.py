"""Who may do what with a mirror, across the runner's attempts and its processes.

Two locks for each mirror, both files beside it that are never removed:

    present     shared by whoever relies on the mirror being there; alone, it may be removed
    writing     whoever writes into it: fetches, tidies up

They are the kernel's, so that of a killed process none is left; and a git that still runs then
keeps its own until it has ended.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final


class Taken(Exception):
    """Somebody has the lock."""


_FIRST: Final = 0.005
_LONGEST: Final = 0.1
"""Seconds between two looks at a lock that somebody has."""


@asynccontextmanager
async def locked(path: Path, *, shared: bool = False, waits: bool = True) -> AsyncIterator[int]:
    """The lock's descriptor, once it is ours. Raises Taken if it is not, and one *waits* not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        pause = _FIRST
        while True:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    raise Taken from None
            # A thread that waits in the kernel could not be called back.
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        yield lock
    finally:
        os.close(lock)
