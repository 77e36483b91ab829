"""`turnstile runner` for a service that runs, as somebody starts it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any, TypeVar

import psutil

from tests.journey.command import PATIENCE, TURNSTILE, environment
from tests.journey.running import Site

T = TypeVar("T")


class Runner:
    """A runner, and what it says."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: list[str] = []
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(self.process.stderr)

    def said(self, event: str) -> list[dict[str, Any]]:
        """What it logged as *event* until now."""
        found = []
        for line in list(self._lines):
            with suppress(ValueError):
                told = json.loads(line)
                if told["event"] == event:
                    found.append(told)
        return found

    def says(self, event: str) -> None:
        """Wait until it does."""
        eventually(lambda: self.said(event))

    @property
    def text(self) -> str:
        """All that it has said."""
        return "".join(list(self._lines))


@contextmanager
def runner(site: Site, worker: str, directory: Path, *options: str) -> Iterator[Runner]:
    """A runner under this name, killed in the end."""
    settings = {**site.settings(), "TURNSTILE_LOG_FORMAT": "json"}
    with subprocess.Popen(
        [TURNSTILE, "runner", "--name", worker, "--dir", str(directory), *options],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Runner(process)
        finally:
            process.kill()


def eventually(look: Callable[[], T]) -> T:
    """What is seen, once it is something. Fails where it stays nothing."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        if found := look():
            return found
        sleep(0.02)
    raise AssertionError("it has not come about")


def is_gone(process: int) -> bool:
    """Whether there is no such process any more."""
    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
