"""What is measured, as processes of their own; engines are killed where that is the measure."""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


class EngineEnded(Exception):
    """A process is no more that should be; says what it said last."""


class Engines:
    """Processes of one role that run, by their ids."""

    def __init__(
        self, role: str, environment: Mapping[str, str], folder: Path, group: asyncio.TaskGroup
    ) -> None:
        self._role = role
        self.pids: list[int] = []
        self._environment = environment
        self._folder = folder
        self._group = group
        self._processes: dict[int, Process] = {}
        self._watchers: dict[int, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """One more, of this very tree, whatever else is installed."""
        log = self._folder / f"{self._role}-{len(self._processes)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from workers.cli import main; main()", self._role),
                cwd=ROOT,
                env={
                    **self._environment,
                    "TURNSTILE_NAME": log.stem,
                    "TURNSTILE_LOG_FORMAT": "json",
                },
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pids.append(process.pid)
        self._processes[process.pid] = process
        self._watchers[process.pid] = self._group.create_task(_watch(process, log))

    def kill(self) -> None:
        """Kill the one that runs the longest: no clean-up, no last word."""
        pid = self.pids.pop(0)
        self._watchers.pop(pid).cancel()
        self._processes[pid].kill()

    def watch_no_more(self) -> None:
        """They may end now."""
        for watcher in self._watchers.values():
            watcher.cancel()

    async def stop(self) -> None:
        """Have all of them end in order."""
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def running(
    number: int, environment: Mapping[str, str], folder: Path, role: str = "engine"
) -> AsyncIterator[Engines]:
    """So many of them. The body is cancelled if one ends, and EngineEnded raised."""
    engines = None
    try:
        async with asyncio.TaskGroup() as group:
            engines = Engines(role, environment, folder, group)
            for _ in range(number):
                await engines.start()
            yield engines
            engines.watch_no_more()
    except* EngineEnded as ended:
        raise ended.exceptions[0] from None
    finally:
        if engines is not None:
            await engines.stop()


async def _watch(engine: Process, log: Path) -> None:
    code = await engine.wait()
    said = log.read_text(errors="replace").splitlines()[-20:]  # noqa: ASYNC240 - all is over
    raise EngineEnded("\n".join((f"{log.stem} ended with {code}; it said:", *said)))
