"""The bundled server: started, watched, restarted, and stopped with the process it is for."""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import structlog

from adapters.postgres.server.cluster import LOOK, Cluster, claimed
from adapters.postgres.server.errors import AlreadyRunning, ServerError
from adapters.postgres.server.programs import CACHE, Output, Programs, find

# For an event store on one machine; what is not here has PostgreSQL's own default.
DEFAULTS = {
    "listen_addresses": "",  # nothing but the socket
    "port": "5432",
    "max_connections": "500",
    "shared_buffers": "256MB",
    "synchronous_commit": "on",  # a reply says that the commit is on the disk
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",  # fewer checkpoints, and still seconds of recovery
    "autovacuum": "on",  # views are rewritten all the time
    "idle_in_transaction_session_timeout": "30s",  # a paused process must not hold locks
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}
VOLATILE = {"fsync": "off", "full_page_writes": "off"}  # a power cut destroys it, kill -9 does not

SILENCE = 60.0  # seconds that the server may take to write its note; recovery may take any time
READY = 10.0  # seconds to wait for a server that another process starts
AGAIN = 1.0  # seconds after which one that has died is started again
PATIENT = 2.0  # seconds after which a start that still goes on, as in recovery, is mentioned
ENDINGS = (  # fast, immediate (recovery at the next start), by force; seconds to wait for each
    (signal.SIGINT, 30.0),
    (signal.SIGQUIT, 5.0),
    (signal.SIGKILL, 5.0),
)

log = structlog.get_logger()


@asynccontextmanager
async def bundled(
    data: Path,
    *,
    fsync: bool = True,
    settings: Mapping[str, str] = MappingProxyType({}),
    cache: Path = CACHE,
) -> AsyncIterator["Server"]:
    """A server on the directory *data*, which it has for itself, for as long as the context lasts.

    Without *fsync* a power cut may destroy the data. *settings* are PostgreSQL's own; they win over
    our `DEFAULTS`. *cache* is for a copy of the programs, where root's server cannot reach them.

    Raises:
        ServerError: see `adapters.postgres.server.errors`.
    """
    with (
        claimed(data) as cluster,
        closing(Output(cluster.folder / "server.log")) as output,
        cluster.sockets() as sockets,
    ):
        programs = await asyncio.to_thread(find, cluster.account, output, cache)
        await cluster.prepare(programs, durable=fsync)
        server = Server(
            cluster,
            programs,
            sockets,
            {**DEFAULTS, **({} if fsync else VOLATILE), **settings},
        )
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


@asynccontextmanager
async def shared(data: Path) -> AsyncIterator[str]:
    """The dsn of a server on *data*: of one that is there, or else of one of our own.

    It ends with the process that started it, whoever else uses it. One of our own that dies is
    started again.

    Raises:
        ServerError: as `bundled` does.
    """
    async with AsyncExitStack() as stack:
        deadline = time.monotonic() + READY
        dsn = None
        while dsn is None:
            try:
                server = await stack.enter_async_context(bundled(data))
                keeping = asyncio.create_task(_keep(server))
                stack.push_async_callback(_over, keeping)
                dsn = server.dsn
            except AlreadyRunning:
                dsn = _running(data)
                if dsn is None and time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK)
        yield dsn


async def _keep(server: "Server") -> None:
    """Start it again whenever it has died."""
    while True:
        await server.wait()
        await asyncio.sleep(AGAIN)
        try:
            await server.restart()
        except ServerError as error:
            log.critical("postgres does not start again", error=str(error))


async def _over(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def _running(data: Path) -> str | None:
    """Where a server says in its note that it answers."""
    try:
        note = (data / "cluster" / "postmaster.pid").read_text().splitlines()
        _, _, _, port, sockets, _, _, state, *_ = note
    except (OSError, ValueError):
        return None
    return _dsn(Path(sockets), port) if state.strip() == "ready" else None


def _dsn(sockets: Path, port: str) -> str:
    return f"postgresql://turnstile@/turnstile?host={quote(str(sockets), safe='')}&port={port}"


class Server:
    """A PostgreSQL that is a child of this process. On Linux it ends when this process is killed.

    Attributes:
        dsn: where it answers; stays the same over a restart.
        pid: the postmaster's process id.
        log: the file with what it says.
    """

    def __init__(
        self, cluster: Cluster, programs: Programs, sockets: Path, settings: Mapping[str, str]
    ) -> None:
        self.dsn = _dsn(sockets, settings["port"])
        self.log = str(programs.output.path)
        self._cluster = cluster
        self._programs = programs
        quoted = str(sockets).replace('"', '""')
        self._settings = {**settings, "unix_socket_directories": f'"{quoted}"'}
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._wanted = False

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> Process:
        assert self._process is not None, "the server was never started"
        return self._process

    async def wait(self) -> int:
        """Wait until the server has ended, wanted or not; its exit code, or minus the signal."""
        return await self._started.wait()

    async def restart(self) -> None:
        """Stop it, if it is not dead already, and start it again on the same directory."""
        await self.stop()
        await self.start()

    async def start(self) -> None:
        """Start it, and return when it answers."""
        began = time.monotonic()
        await self._cluster.vacate()
        self._programs.output.mark()
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process = await self._programs.start("postgres", "-D", self._cluster.path, *options)
        self._watcher = asyncio.create_task(self._watch(self._process))
        await self._answer(self._process, began)
        self._wanted = True
        log.info("postgres started", pid=self.pid, seconds=_since(began))

    async def _answer(self, process: Process, began: float) -> None:
        """Wait until *process* notes that it is ready, as `pg_ctl` does."""
        mentioned = False
        while (noted := self._cluster.noted()) != (process.pid, "ready"):
            if process.returncode is not None:
                raise self._programs.output.failure(
                    "postgres", f"ended with code {process.returncode}"
                )
            waited = time.monotonic() - began
            if waited > SILENCE and noted[0] != process.pid:
                raise self._programs.output.failure("postgres", f"was silent for {SILENCE:.0f} s")
            if waited > PATIENT and not mentioned:
                log.warning("postgres is not ready yet", pid=process.pid, log=self.log)
                mentioned = True
            await asyncio.sleep(LOOK)

    async def _watch(self, process: Process) -> None:
        code = await process.wait()
        if self._wanted:
            log.error("postgres died", pid=process.pid, code=code, log=self.log)

    async def stop(self) -> None:
        """Have it end. A cancellation has to wait for that."""
        ending = asyncio.ensure_future(self._end())
        cancelled = None
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            raise cancelled

    async def _end(self) -> None:
        self._wanted = False
        if self._process is None or self._watcher is None or self._process.returncode is not None:
            return
        began = time.monotonic()
        for ending, patience in ENDINGS:
            with suppress(ProcessLookupError):
                self._process.send_signal(ending)
            ended, _ = await asyncio.wait({self._watcher}, timeout=patience)
            if ended:
                code = self._process.returncode
                log.info("postgres stopped", pid=self.pid, code=code, seconds=_since(began))
                return
        log.error("postgres does not end", pid=self.pid)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
