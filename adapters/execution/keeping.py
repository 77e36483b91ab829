"""A room that a keeper keeps: the runner's side of it. The other one is keeper.py."""

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from adapters.execution.errors import ProviderRefused, RoomBroken
from adapters.execution.flow import Flow
from adapters.execution.marks import end_marked, marks
from adapters.execution.provider import Exit, Output, Workplace

log = structlog.get_logger()

KEEPER: Final = Path(__file__).with_name("keeper.py")
PROGRAM: Final = (sys.executable, "-I", "-S", str(KEEPER))

START: Final = 30.0
"""Seconds in which a keeper should be there."""

PATIENCE: Final = 10.0
"""Seconds that it may take to end everything before it is killed itself."""

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for, unless the task says something else."""


class _Answer(Struct):
    ready: bool = False
    exit: Exit | None = None


class KeptRoom:
    """A room (see provider.Room)."""

    def __init__(
        self, workplace: Workplace, environment: Mapping[str, str], keeper: "Keeper", grace: float
    ) -> None:
        self._workplace = workplace
        self._environment = environment
        self._keeper = keeper
        self._grace = grace
        self._usable = True

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        limit: float | None = None,
        output: Output,
    ) -> Exit:
        """Run a command (see provider.Room)."""
        if not self._usable:
            raise self._broken("it is closed, or something else is being run in it")
        self._usable = False
        order = {
            "argv": list(argv),
            "environment": {
                **self._environment,
                **(environment or {}),
                **marks(self._workplace),
            },
            "directory": str(self._workplace.directory / (directory or "")),
            "limit": limit,
            "grace": self._grace,
        }
        self._keeper.send(run=order)
        answer = asyncio.ensure_future(self._keeper.answer())
        try:
            await self._keeper.flow.pass_on(output, answer)
            told = answer.result()
        finally:
            answer.cancel()
        if told is None or told.exit is None:
            raise self._broken("its keeper is gone")
        self._usable = not self._keeper.ending
        return told.exit

    async def kill(self) -> None:
        """End everything (see provider.Room)."""
        self._usable = False
        await self._keeper.end(self._workplace)

    def _broken(self, reason: str) -> RoomBroken:
        return RoomBroken(attempt=self._workplace.attempt, reason=reason)


class Keeper:
    """A running keeper."""

    def __init__(
        self, process: Process, reader: StreamReader, writer: StreamWriter, flow: Flow
    ) -> None:
        self.flow = flow
        self.ending = False
        self._process = process
        self._reader = reader
        self._writer = writer

    def send(self, **order: Any) -> None:
        """Tell it what to do."""
        self._writer.write(msgspec.json.encode(order) + b"\n")

    async def answer(self) -> _Answer | None:
        """What it says next; None if it is gone, or speaks nonsense."""
        try:
            return msgspec.json.decode(await self._reader.readline(), type=_Answer)
        except (msgspec.MsgspecError, ValueError, OSError):
            return None

    async def end(self, workplace: Workplace) -> None:
        """Have it end everything, and wait until that is so."""
        self.ending = True
        self.send(end=True)
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            status = await self._process.wait()
        if status:  # it did not come to do it itself
            killed = await asyncio.to_thread(end_marked, marks(workplace))
            log.warning("keeper gone", attempt=workplace.attempt, status=status, killed=killed)

    async def close(self) -> None:
        """Hang up, which ends a keeper that was not told to."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        self.flow.close()


@asynccontextmanager
async def kept(
    provider: str, program: Sequence[str], workplace: Workplace, grace: float
) -> AsyncIterator[KeptRoom]:
    """A room whose keeper is started as this *program*. Raises ProviderRefused."""
    environment = _environment(workplace)
    keeper = await _started(provider, program, workplace, environment)
    try:
        try:
            async with asyncio.timeout(START):
                answer = await keeper.answer()
        except TimeoutError:
            answer = None
        if answer is None or not answer.ready:
            said = keeper.flow.rest().decode(errors="replace").strip()
            reason = said.splitlines()[-1] if said else "its keeper does not start"
            raise ProviderRefused(provider=provider, reason=reason)
        yield KeptRoom(workplace, environment, keeper, grace)
    finally:
        try:
            await keeper.end(workplace)
        finally:
            await keeper.close()


async def _started(
    provider: str, program: Sequence[str], workplace: Workplace, environment: Mapping[str, str]
) -> Keeper:
    ours, theirs = socket.socketpair()
    flow = Flow()
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=theirs.fileno(),
            stdout=flow.write,
            stderr=flow.write,
            cwd=workplace.directory,
            env={"PATH": PATH, "LANG": environment["LANG"], **marks(workplace)},
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        flow.close()
        reason = f"{program[0]}: {error.strerror}"
        raise ProviderRefused(provider=provider, reason=reason) from error
    finally:
        theirs.close()
        flow.handed_on()
    reader, writer = await asyncio.open_connection(sock=ours)
    return Keeper(process, reader, writer, flow)


def _environment(workplace: Workplace) -> dict[str, str]:
    """All that a command finds around it: nothing of the runner's own."""
    home, temporary = workplace.private / "home", workplace.private / "tmp"
    for folder in (home, temporary):
        folder.mkdir(mode=0o700, exist_ok=True)
    return {
        "PATH": PATH,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **workplace.environment,
    }
