"""`turnstile` as whoever installed it runs it, and what it leaves behind."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

TURNSTILE = Path(sys.executable).with_name("turnstile")
PATIENCE = 60.0


def environment(**settings: object) -> dict[str, str]:
    """This environment without any setting of Turnstile's but these."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key != "DATABASE_URL" and not key.startswith("TURNSTILE_")
    }
    return kept | {key: str(value) for key, value in settings.items()}


def turnstile(*arguments: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    return subprocess.run(
        [TURNSTILE, *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def processes(place: Path) -> list[str]:
    """The command lines of those who live in a directory, or have it as their TMPDIR."""
    mark = f"TMPDIR={place}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # ended meanwhile
                settings = (process / "environ").read_bytes().split(b"\0")
                home = str((process / "cwd").readlink())
                if mark in settings or home.startswith(f"{place}/"):
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append(f"{process.name} {command}")
    return found
