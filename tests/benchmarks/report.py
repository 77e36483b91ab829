"""The figures: a table for people, and a JSON object a line for programs."""

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.benchmarks.system import System


class Figures(Struct, frozen=True):
    """What a mode has measured, and its `details`."""

    log: str
    mode: str
    state_changes_per_second: float
    tickets_per_second: float
    cpu_seconds_per_1000_changes: dict[str, float]
    p50_ms: float
    p99_ms: float
    cores: int
    details: dict[str, Any]

    def line(self) -> bytes:
        """One JSON object, the details beside the rest."""
        fields = msgspec.structs.asdict(self)
        return msgspec.json.encode(fields | fields.pop("details")) + b"\n"


def figures(
    system: System,
    mode: str,
    *,
    changes: int,
    tickets: int,
    seconds: float,
    cpu: Mapping[str, float],
    latencies: Sequence[float],
    **details: Any,
) -> Figures:
    """The figures of *changes* that were made in so many *seconds*."""
    ordered = sorted(latencies)
    return Figures(
        log=system.log,
        mode=mode,
        state_changes_per_second=round(changes / seconds, 1),
        tickets_per_second=round(tickets / seconds, 2),
        cpu_seconds_per_1000_changes={
            name: round(used * 1e3 / changes, 5) for name, used in cpu.items()
        },
        p50_ms=round(_percentile(ordered, 50) * 1e3, 2),
        p99_ms=round(_percentile(ordered, 99) * 1e3, 2),
        cores=cores(),
        details={"seconds": round(seconds, 2), **details},
    )


def milliseconds(seconds: Sequence[float], percent: int) -> float:
    """The percentile of what took so long."""
    return round(_percentile(sorted(seconds), percent) * 1e3, 2)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class Report:
    """Collects figures; each is written to the *json* file as soon as it is there."""

    def __init__(self, json: str | None) -> None:
        self._json = Path(json) if json else None
        self._rows: list[Figures] = []
        if self._json is not None:
            self._json.write_bytes(b"")

    def machine(self, system: System) -> None:
        """Say once on what all this is measured."""
        if not self._rows:
            versions = {"Python": platform.python_version(), **system.versions}
            named = ", ".join(f"{name} {version}" for name, version in versions.items())
            print(
                f"{cores()} cores, {_memory_gib():.0f} GiB, fsync {system.fsync_ms:.2f} ms; {named}"
            )

    def add(self, figures: Figures) -> None:
        """One more mode."""
        self._rows.append(figures)
        if self._json is not None:
            with self._json.open("ab") as file:
                file.write(figures.line())

    def show(self) -> None:
        """The table, and below it what else each mode has found."""
        head = ("log", "mode", "changes/s", "tickets/s", "p50 ms", "p99 ms", "CPU µs a change")
        rows = [
            (
                row.log,
                row.mode,
                f"{row.state_changes_per_second:,.0f}",
                f"{row.tickets_per_second:,.1f}",
                f"{row.p50_ms:,.2f}",
                f"{row.p99_ms:,.2f}",
                ", ".join(
                    f"{name} {seconds * 1e3:.1f}"
                    for name, seconds in row.cpu_seconds_per_1000_changes.items()
                ),
            )
            for row in self._rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        print()
        for cells in (head, tuple("-" * width for width in widths), *rows):
            print("  ".join(_aligned(n, cell, widths[n]) for n, cell in enumerate(cells)).rstrip())
        for row in self._rows:
            print(f"\n{row.mode}:")
            for name, value in row.details.items():
                print(f"  {name.replace('_', ' ')}: {_shown(value)}")


def _aligned(column: int, cell: str, width: int) -> str:
    return cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float:
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return 0.0
