"""The server's directory: whose it is, its first use, and what a killed server left in it."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from adapters.postgres.server.errors import (
    AlreadyRunning,
    ForeignDirectory,
    ForeignOwner,
    NoPlaceForSocket,
    Unreachable,
    WrongVersion,
)
from adapters.postgres.server.programs import Account, Programs, private

NOBODY = Account(65534, 65534)
SOCKET = ".s.PGSQL.{port}"
SOCKET_LIMIT = 107 if sys.platform == "linux" else 103  # bytes, by the kernel's `sun_path`
READY_FOR = 1.0  # seconds: a server without a parent that goes on for longer is somebody's
PATIENCE = 10.0  # seconds to let the processes of a killed server end by themselves
LOOK = 0.01  # seconds between two looks

log = structlog.get_logger()


@contextmanager
def claimed(folder: Path) -> Iterator["Cluster"]:
    """Hold *folder*, made if need be, against every other server of ours.

    Raises:
        ForeignDirectory, ForeignOwner: it is not for us.
        Unreachable: the user who will run the programs cannot reach it.
        AlreadyRunning: somebody holds it.
    """
    folder = folder.resolve()
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    cluster = Cluster(folder)
    with private(folder / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(folder=folder, pid=lock.read().decode() or "unknown") from None
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
        yield cluster


class Cluster:
    """PostgreSQL's files in *folder*, and who owns them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "cluster"
        self.account = self._admit()

    def _admit(self) -> Account:
        """Refuse what is not for us, and say who runs the programs."""
        found, uid = self.folder.stat(), os.geteuid()
        if uid not in (0, found.st_uid):
            raise ForeignOwner(folder=self.folder, owner=found.st_uid, uid=uid)
        exists = self.path.exists()
        if not self.folder.is_dir() or not (
            (self.path / "PG_VERSION").exists()
            if exists
            else all(self._is_ours(entry.name) for entry in self.folder.iterdir())
        ):
            raise ForeignDirectory(folder=self.folder)
        if uid != 0:
            return Account(uid, os.getegid())
        owner = (self.path if exists else self.folder).stat()
        account = Account(owner.st_uid, owner.st_gid)
        if owner.st_uid == 0 or not (exists or account.has_name()):
            account = NOBODY
        if found.st_uid == 0:
            self.folder.chmod(0o711)
        if barrier := account.barrier(self.folder):
            raise Unreachable(path=self.folder, uid=account.uid, barrier=barrier)
        return account

    @staticmethod
    def _is_ours(name: str) -> bool:
        return name in ("lock", "server.log", "server.log.1") or name.startswith("cluster.")

    @contextmanager
    def sockets(self) -> Iterator[Path]:
        """Where the socket is: beside the files, or in a short folder if their path will not do."""
        if _will_do(self.path):
            yield self.path
            return
        places = [Path(tempfile.gettempdir()).resolve(), Path("/tmp").resolve()]
        for place in places:
            if _will_do(place / "turnstile-12345678") and not self.account.barrier(place):
                break
        else:
            raise NoPlaceForSocket(folder=self.path, tried=", ".join(map(str, places)))
        with tempfile.TemporaryDirectory(prefix="turnstile-", dir=place) as name:
            self._give(Path(name))
            yield Path(name)

    async def _clear_begun(self) -> None:
        """Remove what was begun by who was killed over it; programs of its may write on a while."""
        for begun in self.folder.glob("cluster.*"):
            till = time.monotonic() + PATIENCE
            while begun.exists() and time.monotonic() < till:
                shutil.rmtree(begun, ignore_errors=True)
                await asyncio.sleep(LOOK)

    async def prepare(self, programs: Programs, *, durable: bool) -> None:
        """Make the files at the first use; check that *programs* are the right ones for them."""
        await self._clear_begun()
        if not self.path.exists():
            begun = Path(tempfile.mkdtemp(prefix="cluster.", dir=self.folder))
            self._give(begun)
            await programs.run(
                *("initdb", "-D", begun, "-U", "turnstile", "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-instructions"),
                *(() if durable else ("--no-sync",)),
            )
            await programs.run(
                *("postgres", "--single", "-D", begun, "--exit_on_error=on"),
                *("--fsync=on" if durable else "--fsync=off", "postgres"),
                given=b"CREATE DATABASE turnstile\n",
            )
            self._name(begun)
        found = (self.path / "PG_VERSION").read_text().strip()
        if found != programs.major:
            raise WrongVersion(folder=self.folder, found=found, expected=programs.major)
        if self.path.stat().st_uid != self.account.uid:  # root's, as from a backup
            for parent, _, names in os.walk(self.path, topdown=False):
                for name in names:
                    self._give(Path(parent, name))
                self._give(Path(parent))

    def _name(self, begun: Path) -> None:
        """Give the finished files their name, for good."""
        begun.rename(self.path)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def noted(self) -> tuple[int, str]:
        """The process id and the state in PostgreSQL's own note, or `(0, "")`."""
        try:
            lines = (self.path / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), lines[7].strip()
        except (OSError, ValueError, IndexError):
            return 0, ""

    def occupants(self) -> set[int]:
        """The postgres processes that live in the cluster: each makes it its working directory.

        Neither a zombie nor a process that was given a dead server's id does.
        """
        if sys.platform != "linux":
            pid, _ = self.noted()
            asked = ["ps", "-o", "stat=,comm=", "-p", str(pid)]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
            return {pid} if said.endswith("postgres\n") and not said.startswith("Z") else set()
        found = set()
        home = self.path.stat()
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with suppress(OSError):  # ended meanwhile, or hidden from us
                    if (process / "comm").read_text() == "postgres\n" and os.path.samestat(
                        (process / "cwd").stat(), home
                    ):
                        found.add(int(process.name))
        return found

    async def vacate(self) -> None:
        """Wait for the processes of an earlier server to end, and clear away what it left.

        They do so by themselves: a server whose parent was killed in order, the backends of a
        killed server as soon as they look up from their query. Those that do not are ended:
        nobody can recover the files beneath them.

        Raises:
            AlreadyRunning: a server is there that nobody tells to end.
        """
        if not await self._empties():
            orphans = self.occupants()
            log.warning("postgres left processes, ending them", pids=sorted(orphans))
            for orphan in orphans:
                with suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGQUIT)
            if not await self._empties():
                raise AlreadyRunning(folder=self.folder, pid=min(self.occupants(), default=0))
        # The server would believe these if their process id were alive again as something else.
        for left in (*self.path.glob(SOCKET.format(port="*")), self.path / "postmaster.pid"):
            left.unlink(missing_ok=True)

    async def _empties(self) -> bool:
        """Whether everybody leaves in time."""
        began = time.monotonic()
        mentioned = False
        while occupants := self.occupants():
            waited = time.monotonic() - began
            pid, state = self.noted()
            if pid in occupants and waited > (READY_FOR if state == "ready" else PATIENCE):
                raise AlreadyRunning(folder=self.folder, pid=pid)
            if waited > PATIENCE:
                return False
            if not mentioned:
                log.warning("postgres left processes, waiting for them", pids=sorted(occupants))
                mentioned = True
            await asyncio.sleep(LOOK)
        return True


def _will_do(folder: Path) -> bool:
    """Whether the kernel takes the socket's path, and asyncpg: for it a comma separates hosts."""
    path = os.fsencode(folder / SOCKET.format(port=65535))
    return len(path) <= SOCKET_LIMIT and b"," not in path
