"""Who plays: a service and runners, processes of their own that end with this context."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from adapters.config import Config
from adapters.execution.marks import left
from workers.child import Child, Ended

T = TypeVar("T")

LOOK: Final = 0.05
"""Seconds between two looks at what a process has said."""

SERVICE: Final = "service"


class Cast:
    """Processes by their names. What they say is in the folder, a file each.

    Attributes:
        killed: the names of those whom the story has killed.
        statuses: how those have ended that were stopped.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.killed: list[str] = []
        self.statuses: dict[str, int] = {}
        self._config = config
        self._folder = folder
        self._children: dict[str, Child] = {}
        self._waits: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> "Cast":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def serve(self) -> str:
        """Start `turnstile up`; where it listens."""
        service = await self._start(SERVICE, "up", self._config)
        while True:
            for said in service.said("api_listens"):
                return f"http://{said['address']}"
            await asyncio.sleep(LOOK)

    async def work(self, name: str, url: str, token: str) -> int:
        """Start `turnstile runner` of this name, with the tools of this Python; its process id."""
        config = msgspec.structs.replace(self._config, name=name, url=url, token=token)
        path = f"{sys.prefix}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        options = ("--dir", str(self._home(name)), "--env", f"PATH={path}", "--drain", "1")
        # A runner that is told to end would first see its reports taken, by a service that is gone.
        child = await self._start(name, "runner", config, *options, last=signal.SIGKILL)
        return child.pid

    async def kill(self, name: str) -> int:
        """Kill it with -9; its process id."""
        self.killed.append(name)
        child = self._children.pop(name)
        await child.kill()
        return child.pid

    async def end(self) -> None:
        """Stop all that are there, the service last."""
        runners = [name for name in self._children if name != SERVICE]
        await asyncio.gather(*(self._stop(name) for name in runners))
        await asyncio.gather(*(self._stop(name) for name in [*self._children]))
        await asyncio.gather(*self._waits)

    async def meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work as long as all of them live. Raises Ended."""
        working = asyncio.ensure_future(work)
        self._ended.add_done_callback(lambda _: working.cancel())
        try:
            await asyncio.wait({working})
            if self._ended.done():
                self._ended.result()
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def left(self) -> Sequence[str]:
        """What is still there of the runners' attempts, killed or not: marked by their homes."""
        homes = [file.read_text().strip() for file in self._folder.glob("runners/*/id")]
        return [process for home in homes for process in left(home)]

    def logs(self) -> Mapping[str, Sequence[str]]:
        """The end of what each of them has said."""
        files = sorted(self._folder.glob("*.log"))
        return {file.name: file.read_text(errors="replace").splitlines()[-15:] for file in files}

    def _home(self, name: str) -> Path:
        return self._folder / "runners" / name

    async def _start(
        self,
        name: str,
        command: str,
        config: Config,
        *options: str,
        last: signal.Signals = signal.SIGTERM,
    ) -> Child:
        log = self._folder / f"{name}.log"
        child = await Child.start(command, config, log, *options, last=last)
        self._children[name] = child
        self._waits.add(asyncio.create_task(self._watch(name, child)))
        return child

    async def _watch(self, name: str, child: Child) -> None:
        status = await child.wait()
        if self._children.get(name) is child and not self._ended.done():
            self._ended.set_exception(Ended(f"{name} ended by itself, with status {status}"))

    async def _stop(self, name: str) -> None:
        self.statuses[name] = await self._children.pop(name).stop()
