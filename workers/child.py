"""A command of `turnstile` in a process of its own that does not outlive this one.

`python -m workers.child PARENT[:SIGNAL] COMMAND...` is the other end: it ties itself to its parent,
with whose end it gets the signal, and becomes the command line. (Linux does that; elsewhere the
child ends when it is stopped.)
"""

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from adapters.config import Config

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds that a child may take to stop before it is killed."""

_PR_SET_PDEATHSIG: Final = 1


class Ended(Exception):
    """The child has ended by itself."""


class Child:
    """A running command. What it says goes to the file `log`, as JSON lines."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls,
        command: str,
        config: Config,
        log: Path,
        *arguments: str,
        last: signal.Signals = signal.SIGTERM,
    ) -> "Child":
        """Start the command with this configuration and no other, by this very interpreter.

        Should this process be killed, it gets the *last* signal.
        """
        # A session of its own: Ctrl-C in a terminal is for us to handle.
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", __name__, f"{os.getpid()}:{last}", command),
                *arguments,
                env=_environment(config),
                stdin=DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return cls(config.name, process, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end, and say its exit status, or minus the signal that ended it."""
        return await self._process.wait()

    async def meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work while it runs. Raises Ended if it ends first."""
        working = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise Ended(f"{self.name} ended by itself, with status {ended.result()}")
        finally:
            working.cancel()
            ended.cancel()

    async def kill(self) -> None:
        """Kill it: no clean-up, no last word."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Ask it to stop; kill it if it does not. Returns as `wait` does."""
        try:
            with suppress(ProcessLookupError):
                self._process.terminate()
            async with asyncio.timeout(PATIENCE):
                return await self._process.wait()
        except TimeoutError:
            return -signal.SIGKILL
        finally:
            await self.kill()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this event so far."""
        found = []
        for line in self.log.read_bytes().splitlines():
            with suppress(msgspec.DecodeError):
                fields = msgspec.json.decode(line)
                if isinstance(fields, dict) and fields.get("event") == event:
                    found.append(fields)
        return found

    def tail(self, lines: int = 15) -> list[str]:
        """The end of its log."""
        return self.log.read_text(errors="replace").splitlines()[-lines:]


def _environment(config: Config) -> dict[str, str]:
    """This environment with all settings of Turnstile replaced."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key != "DATABASE_URL" and not key.startswith("TURNSTILE_")
    }
    settings = msgspec.structs.asdict(config)
    return kept | {
        f"TURNSTILE_{name.upper()}": value if isinstance(value, str) else _json(value)
        for name, value in settings.items()
        if value is not None
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _main() -> None:
    parent, _, last = sys.argv.pop(1).partition(":")
    if sys.platform == "linux":
        number = int(last or signal.SIGTERM)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number))
        if os.getppid() != int(parent):  # it ended before we could be told
            sys.exit(1)

    from workers.cli import main  # it imports everything there is

    main(prog_name="turnstile")


if __name__ == "__main__":
    _main()
