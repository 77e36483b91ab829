"""Engines as processes, killed, stopped and paused at random, and started again when they end."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path

import msgspec


class Engines:
    """So many engines, as a supervisor keeps them: who ends is started again."""

    def __init__(self, count: int, environment: Mapping[str, str], folder: Path) -> None:
        self._names = [f"engine-{n}" for n in range(count)]
        self._environment = {**os.environ, **environment, "TURNSTILE_LOG_FORMAT": "json"}
        self._folder = folder
        self._processes: dict[str, Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._keeping = True
        self.starts = 0

    async def __aenter__(self) -> "Engines":
        self._keepers = [asyncio.create_task(self._keep(name)) for name in self._names]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _keep(self, name: str) -> None:
        while self._keeping:
            with (self._folder / f"{name}.log").open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    Path(sys.executable).with_name("turnstile"),
                    "engine",
                    env={**self._environment, "TURNSTILE_NAME": name},
                    stdout=output,
                    stderr=output,
                )
            self.starts += 1
            self._processes[name] = process
            await process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, if the process is there."""
        process = self._processes.get(name)
        if process is not None and process.returncode is None:
            process.send_signal(number)

    def some(self, chance: random.Random) -> str:
        """One of them."""
        return chance.choice(self._names)

    async def stop(self) -> None:
        """Have all end as a service manager does, and take none back."""
        self._keeping = False
        for name in self._names:
            self.signal(name, signal.SIGCONT)
            self.signal(name, signal.SIGTERM)
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=20)
            for name in self._names:
                self.signal(name, signal.SIGKILL)
            await asyncio.gather(*self._keepers)
            assert not late, "an engine did not end within 20 s of SIGTERM"

    def tracebacks(self) -> list[str]:
        """What ended an engine that nobody had killed."""
        texts = [(self._folder / f"{name}.log").read_text() for name in self._names]
        return [text[text.index("Traceback") :][:4000] for text in texts if "Traceback" in text]

    def said(self, event: str) -> list[dict[str, object]]:
        """What the engines logged as *event*."""
        texts = [(self._folder / f"{name}.log").read_bytes() for name in self._names]
        return [
            msgspec.json.decode(line)
            for text in texts
            for line in text.splitlines()
            if f'"event":"{event}"'.encode() in line
        ]
