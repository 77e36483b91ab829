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
    """Some engines, or another role, as a supervisor keeps them: who ends is started again."""

    def __init__(
        self, count: int, environment: Mapping[str, str], folder: Path, role: str = "engine"
    ) -> None:
        self.names: list[str] = []
        self.starts = 0
        self._count = count
        self._environment = {**os.environ, **environment, "TURNSTILE_LOG_FORMAT": "json"}
        self._folder = folder
        self._role = role
        self._processes: dict[str, Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> "Engines":
        for _ in range(self._count):
            self.add()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def add(self) -> str:
        """One more engine; its name."""
        name = f"{self._role}-{len(self.names)}"
        self.names.append(name)
        self._keepers[name] = asyncio.create_task(self._keep(name))
        return name

    async def _keep(self, name: str) -> None:
        while name in self._keepers:
            with (self._folder / f"{name}.log").open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    Path(sys.executable).with_name("turnstile"),
                    self._role,
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
        return chance.choice(list(self._keepers))

    async def remove(self, *names: str) -> None:
        """Have them end as a service manager does, and start them no more."""
        ending = {name: self._keepers.pop(name) for name in names}
        for name in ending:
            self.signal(name, signal.SIGCONT)
            self.signal(name, signal.SIGTERM)
        if ending:
            _, late = await asyncio.wait(ending.values(), timeout=20)
            for name in ending:
                self.signal(name, signal.SIGKILL)
            await asyncio.gather(*ending.values())
            assert not late, f"one of {', '.join(names)} did not end within 20 s of SIGTERM"

    async def stop(self) -> None:
        """Have all of them end."""
        await self.remove(*self._keepers)

    def tracebacks(self) -> list[str]:
        """What ended an engine that nobody had killed."""
        texts = [(self._folder / f"{name}.log").read_text() for name in self.names]
        return [text[text.index("Traceback") :][:4000] for text in texts if "Traceback" in text]

    def said(self, event: str, *names: str) -> list[dict[str, object]]:
        """What the engines, or those of these names, logged as *event*."""
        logs = [self._folder / f"{name}.log" for name in names or self.names]
        return [
            msgspec.json.decode(line)
            for log in logs
            if log.exists()
            for line in log.read_bytes().splitlines()
            if f'"event":"{event}"'.encode() in line
        ]
