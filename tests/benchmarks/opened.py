"""An engine that takes a partition over: how long it took, and what it holds in memory."""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from tests.benchmarks.engines import ROOT, EngineEnded
from tests.benchmarks.system import System

LOOK: Final = 0.02
PATIENCE: Final = 300.0


class Opened(Struct):
    """The process, and what it says."""

    pid: int
    log: Path

    async def said(self, event: str) -> dict[str, Any]:
        """The first line of this event, once it is there."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.log.read_bytes().splitlines(keepends=True):
                    if f'"event":"{event}"'.encode() in line and line.endswith(b"\n"):
                        found: dict[str, Any] = msgspec.json.decode(line)
                        return found
                if not Path(f"/proc/{self.pid}").exists():  # noqa: ASYNC240
                    raise EngineEnded(self.log.read_text(errors="replace")[-2_000:])
                await asyncio.sleep(LOOK)

    def bytes(self, kind: str = "VmRSS") -> int:
        """Memory that it has now (VmRSS), or had at most (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(status.partition(f"{kind}:")[2].split()[0])


@asynccontextmanager
async def opened(system: System, name: str, snapshot_every: int = 0) -> AsyncIterator[Opened]:
    """An engine that has taken the only partition over, and nothing else to do."""
    log = system.folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from workers.cli import main; main()", "engine"),
            cwd=ROOT,
            env={
                **system.environment,
                "TURNSTILE_NAME": name,
                "TURNSTILE_LOG_FORMAT": "json",
                "TURNSTILE_SNAPSHOT_EVERY": str(snapshot_every),
            },
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        engine = Opened(process.pid, log)
        await engine.said("taken_over")
        yield engine
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
