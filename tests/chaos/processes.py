"""Processes of a role, killed, stopped and paused at random, and started again when they end."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

AGAIN = 0.2
"""Seconds after which a supervisor starts again who has ended."""

PATIENCE = 60.0
"""Seconds that one may take to end when it is asked to: others use this machine too."""

BEGINS = {"api": "api_listens"}

LOOPS = ("asyncio", "uvicorn.error")
"""Who tells of errors that nobody took."""

AWAY = ("ConnectionDoesNotExistError", "RequestTimedOutError")
"""What asyncpg and aiokafka say of what nobody waits for any more when a server is away."""


class Processes:
    """Some processes of a role, as a supervisor keeps them: who ends is started again.

    Each leads a process group of its own, and none outlives the test.
    """

    def __init__(
        self,
        role: str,
        count: int,
        environment: Mapping[str, str],
        folder: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        self.role = role
        self.begins = BEGINS.get(role, f"{role}_started")
        """What one says when it begins its work."""
        self.names: list[str] = []
        self.starts = 0
        self._count = count
        self._arguments = arguments
        self._environment = {**os.environ, **environment, "TURNSTILE_LOG_FORMAT": "json"}
        self._folder = folder
        self._processes: dict[str, Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._groups: list[int] = []
        self._begins: dict[str, int] = {}

    async def __aenter__(self) -> "Processes":
        for _ in range(self._count):
            self.add()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def add(self) -> str:
        """One more; its name."""
        name = f"{self.role}-{len(self.names)}"
        self.names.append(name)
        self._keepers[name] = asyncio.create_task(self._keep(name))
        return name

    async def _keep(self, name: str) -> None:
        while name in self._keepers:
            with (self._folder / f"{name}.log").open("ab") as output:
                self._begins[name] = output.tell()
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "workers.child", str(os.getpid()), self.role),
                    *self._arguments,
                    env={**self._environment, "TURNSTILE_NAME": name},
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            self.starts += 1
            self._groups.append(process.pid)
            self._processes[name] = process
            await process.wait()
            del self._processes[name]
            if name in self._keepers:
                await asyncio.sleep(AGAIN)

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal, if the process is there; whether it was."""
        process = self._processes.get(name)
        if process is None or process.returncode is not None:
            return False
        process.send_signal(number)
        return True

    def is_at_work(self, name: str) -> bool:
        """Whether it has begun what it was started for."""
        if name not in self._processes:
            return False
        with (self._folder / f"{name}.log").open("rb") as log:
            log.seek(self._begins[name])
            return f'"event":"{self.begins}"'.encode() in log.read()

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
            _, late = await asyncio.wait(ending.values(), timeout=PATIENCE)
            for name in ending:
                self.signal(name, signal.SIGKILL)
            await asyncio.gather(*ending.values())
            assert not late, f"one of {', '.join(names)} did not end in {PATIENCE:g} s of SIGTERM"

    async def stop(self) -> None:
        """Have all of them end."""
        await self.remove(*self._keepers)

    def left_behind(self) -> list[int]:
        """Process groups of which something is there still."""
        return [group for group in self._groups if _is_there(group)]

    def troubles(self) -> Iterator[str]:
        """Whatever they said that nobody should read: what was not thought of, and the worst.

        That a server is away is no trouble.
        """
        for name in self.names:
            text = (self._folder / f"{name}.log").read_text()
            if "Traceback" in text:
                yield f"{name}: {text[text.index('Traceback') :][:4000]}"
            for line in self.said("", name):
                worst = line["level"] == "critical" and line.get("kind") != "Unavailable"
                untaken = line.get("logger") in LOOPS and "error" in line
                if worst or (untaken and not any(one in str(line) for one in AWAY)):
                    yield f"{name}: {line}"

    def said(self, event: str, *names: str) -> list[dict[str, object]]:
        """What they, or those of these names, logged as *event*; as anything, if that is empty."""
        logs = [self._folder / f"{name}.log" for name in names or self.names]
        found = []
        for log in logs:
            for line in log.read_bytes().splitlines() if log.exists() else ():
                if f'"event":"{event}'.encode() in line:
                    with suppress(msgspec.DecodeError):  # it was killed while it wrote
                        fields = msgspec.json.decode(line)
                        if fields["event"] == event or not event:
                            found.append(fields)
        return found


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
