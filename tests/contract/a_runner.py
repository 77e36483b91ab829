"""A runner of one command, as a process of its own that a test can kill and pause.

`python -m tests.contract.a_runner PROVIDER DIRECTORY HOME SCRIPT`: what the script says goes to
stdout, and behind it how it ended.
"""

import asyncio
import sys
from pathlib import Path

import structlog

from adapters.execution.errors import RoomBroken
from adapters.execution.marks import adopt
from adapters.execution.process import ProcessProvider
from adapters.execution.provider import Provider, Workplace
from adapters.execution.sandbox import SandboxProvider

PROVIDERS: dict[str, type[ProcessProvider | SandboxProvider]] = {
    "process": ProcessProvider,
    "sandbox": SandboxProvider,
}


def workplace_in(folder: Path, home: str = "h1", network: bool = True) -> Workplace:
    """Places for a work tree and what is private, made in a folder."""
    work, private = folder / "work", folder / "private"
    work.mkdir(exist_ok=True)
    private.mkdir(exist_ok=True)
    return Workplace(work, private, attempt="9/unit/4", home=home, network=network)


async def output(data: bytes) -> None:
    """What it says is said."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def _main(name: str, folder: str, home: str, script: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    adopt()
    provider: Provider = PROVIDERS[name]()
    try:
        async with provider.open(workplace_in(Path(folder), home)) as room:
            ended = await room.run(["/bin/sh", "-c", script], output=output)
            await output(f"ended: {ended.status} {ended.signal}\n".encode())
    except RoomBroken as broken:
        await output(f"broken: {broken}\n".encode())
    await output(b"left\n")
    await asyncio.Event().wait()  # until it is killed


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
