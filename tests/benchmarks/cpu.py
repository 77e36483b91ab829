"""Whose time it takes: CPU seconds by process, from /proc.

Where there is no /proc only this process is known.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


class Meter:
    """CPU seconds since `start` of this process, and of others with all their children."""

    def __init__(self, others: Mapping[str, Sequence[int]]) -> None:
        self._others = others
        self._began: dict[str, float] = {}
        self._began_all = 0.0
        self._began_at = 0.0
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._began, self._began_all, self._began_at = self._used(), _machine(), time.monotonic()

    def used(self) -> dict[str, float]:
        """CPU seconds by process."""
        return {name: seconds - self._began[name] for name, seconds in self._used().items()}

    def elsewhere(self) -> float:
        """How many cores were busy with something else: what disturbs a measurement."""
        others = _machine() - self._began_all - sum(self.used().values())
        return max(0.0, others / (time.monotonic() - self._began_at))

    def _used(self) -> dict[str, float]:
        used = {"driver": time.process_time()}
        if table := _table():
            for name, roots in self._others.items():
                used[name] = sum(_tree(table, root) for root in roots)
        return used


def _table() -> dict[int, tuple[int, float]]:
    """Each process's parent and its CPU seconds, with those of its children that have ended."""
    table: dict[int, tuple[int, float]] = {}
    for entry in PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            ticks = sum(int(field) for field in fields[11:15])
            table[int(entry.name)] = int(fields[1]), ticks / os.sysconf("SC_CLK_TCK")
    return table


def _tree(table: Mapping[int, tuple[int, float]], root: int) -> float:
    own = table[root][1] if root in table else 0.0
    return own + sum(_tree(table, pid) for pid, (parent, _) in table.items() if parent == root)


def _machine() -> float:
    """CPU seconds that the machine has spent on anything since it started."""
    try:
        line = (PROC / "stat").read_text().partition("\n")[0].split()[1:9]
    except OSError:
        return 0.0
    idle = int(line[3]) + int(line[4])
    return (sum(map(int, line)) - idle) / os.sysconf("SC_CLK_TCK")
