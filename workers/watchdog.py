"""Ends the process when a part of it neither moves nor stands at the end.

A process that hangs keeps its partitions and serves nobody; a dead one is replaced.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from types import FrameType

import structlog

log = structlog.get_logger()

EXIT_STUCK = 70
"""The exit status of a process that its watchdog ended (EX_SOFTWARE)."""


def _exit() -> None:
    os._exit(EXIT_STUCK)


class Watchdog:
    """Watches in a thread of its own, since a blocked event loop could not.

    Whatever must move has a name and says so by `moved`. With *patience* (seconds) None nothing
    is watched.
    """

    def __init__(self, patience: float | None, end: Callable[[], None] = _exit) -> None:
        self._patience = patience
        self._end = end
        self._moved: dict[str, float] = {}
        self._stopped = threading.Event()
        if patience is not None:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def moved(self, name: str) -> None:
        """*name* has moved just now, or stands at the end."""
        self._moved[name] = monotonic()

    def forget(self, name: str) -> None:
        """*name* need not move any more."""
        self._moved.pop(name, None)

    def close(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def _watch(self) -> None:
        assert self._patience is not None
        step = self._patience / 10
        looked = monotonic()
        while not self._stopped.wait(step):
            now = monotonic()
            if now - looked > 3 * step:  # it was this process that was paused, or the machine
                self._moved.update(dict.fromkeys(tuple(self._moved), now))
            looked = now
            for name, moved in tuple(self._moved.items()):
                if now - moved > self._patience:
                    self._bark(name, now - moved)
                    return

    def _bark(self, name: str, since: float) -> None:
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        log.critical("stuck", what=name, seconds=round(since, 1), stack=_stack(main))
        self._end()


def _stack(frame: FrameType | None) -> list[str]:
    return [line.strip() for line in traceback.format_stack(frame)[-6:]] if frame else []
