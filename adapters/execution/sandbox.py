"""Rooms made by bubblewrap: a read-only system, a /tmp of their own, and no other process in sight.

The keeper is the first process of a namespace of its own: whatever becomes of it or of the runner,
the kernel ends everything in there with it, and nothing in there can end it.
"""

import asyncio
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from adapters.execution.errors import ProviderRefused
from adapters.execution.keeping import KEEPER, PROGRAM, kept
from adapters.execution.provider import GRACE, Room, Workplace

HIDDEN: Final = ("/home", "/root", "/run", "/mnt", "/media", "/srv")
"""Directories of the system that are empty inside: people's, and other services'."""

RESOLVER: Final = Path("/etc/resolv.conf")
"""Often a link to what is hidden; with a network, names are to be found all the same."""

ISOLATED: Final = (
    *("--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
)


class SandboxProvider:
    """Runs commands under bubblewrap.

    What is `hidden` besides is empty inside, but for what of it the workplace has to be shown; a
    file that is hidden cannot be read.
    """

    name = "sandbox"

    def __init__(
        self,
        hidden: Sequence[Path] = (),
        grace: float = GRACE,
        program: str = "bwrap",
    ) -> None:
        self._hidden = tuple(hidden)
        self._grace = grace
        self._program = program
        self._works = False

    @asynccontextmanager
    async def open(self, workplace: Workplace) -> AsyncIterator[Room]:
        """A room (see provider.Provider)."""
        if not self._works:
            if refusal := await _refusal(self._program):
                raise ProviderRefused(provider=self.name, reason=refusal)
            self._works = True
        inside = (self._program, *_options(workplace, self._hidden), "--", *PROGRAM)
        async with kept(self.name, inside, workplace, self._grace) as room:
            yield room


async def _refusal(program: str) -> str:
    """Why there are no sandboxes on this machine, or nothing."""
    if shutil.which(program) is None:
        return f"there is no {program} on the PATH; bubblewrap is the package that has it"
    trial = await asyncio.create_subprocess_exec(
        *(program, *ISOLATED, "--", sys.executable, "-I", "-S", "-c", ""),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    _, said = await trial.communicate()
    if not trial.returncode:
        return ""
    return said.decode(errors="replace").strip() or f"{program} ends with {trial.returncode}"


def _options(workplace: Workplace, hidden: Sequence[Path]) -> Iterator[str]:
    """How the inside looks, one over the other: later ones cover earlier ones."""
    work, private = workplace.directory.resolve(), workplace.private.resolve()
    home, temporary = private / "home", private / "tmp"
    hiding = [path.resolve() for path in (*map(Path, HIDDEN), *hidden)]
    covered = [str(path) for path in hiding if path.is_dir() and path != Path("/")]
    yield from ISOLATED
    if workplace.network:
        yield "--share-net"
    for path in ("/tmp", "/var/tmp"):
        yield from ("--bind", str(temporary), path)
    for path in (str(path) for path in hiding if path.is_file()):
        yield from ("--ro-bind", "/dev/null", path)
    for path in covered:
        yield from ("--tmpfs", path)
    needed = [sys.prefix, sys.base_prefix, str(KEEPER)]  # by the keeper, wherever it is installed
    needed += [str(path.resolve()) for path in workplace.shown]
    if workplace.network and RESOLVER.exists():
        needed.append(str(RESOLVER.resolve()))
    for path in needed:
        yield from ("--ro-bind", path, path)
    for path in map(str, (temporary, home, work)):
        yield from ("--bind", path, path)
    for path in covered:
        yield from ("--remount-ro", path)
    yield from ("--chdir", str(work))
