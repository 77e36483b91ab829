"""Every role as processes on the servers of a site."""

import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import chain
from pathlib import Path
from shutil import copytree

from tests.chaos.processes import Processes
from tests.chaos.progress import until
from tests.chaos.sites import PARTITIONS, Site

LEASE = 2.0
SNAPSHOT_EVERY = 10
"""Few enough that most takeovers begin at a snapshot."""

ROLES = {"engine": 3, "projector": 2, "reactor": 2, "reaper": 1, "api": 1}
"""How many of each there are, unless somebody says otherwise."""

RUNNER = "runner"

LOGS = os.environ.get("CHAOS_LOGS")


def processes(
    role: str, count: int, servers: Site, folder: Path, arguments: Sequence[str] = (), **more: str
) -> Processes:
    """Processes that say all that can be checked."""
    environment = {
        **servers.environment,
        "TURNSTILE_LEASE": str(LEASE),
        "TURNSTILE_LOG_LEVEL": "debug",
        "TURNSTILE_PARTITIONS": str(PARTITIONS),
        "TURNSTILE_SNAPSHOT_EVERY": str(SNAPSHOT_EVERY),
        "TURNSTILE_DATA": str(folder / "data"),
        **more,
    }
    return Processes(role, count, environment, folder, arguments)


class Crews:
    """All roles of a service, and where its API is."""

    def __init__(
        self, servers: Site, folder: Path, counts: Mapping[str, int], slots: int = 1
    ) -> None:
        at = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{at}"
        self.counts = counts
        self.roles: Mapping[str, Processes] = {
            role: processes(
                *(role, count, servers, folder),
                ("--slots", str(slots)) if role == RUNNER else (),
                TURNSTILE_HTTP=at,
            )
            for role, count in counts.items()
        }
        self._data = folder / "data"

    @property
    def engines(self) -> Processes:
        return self.roles["engine"]

    @property
    def homes(self) -> Sequence[Path]:
        """The directories of the runners that have one."""
        return sorted((self._data / "runners").iterdir())

    @property
    def token(self) -> str:
        """What the API's first token is."""
        return (self._data / "token").read_text().strip()

    def begun(self, role: str) -> int:
        """How often one of a role has begun its work."""
        return len(self.roles[role].said(self.roles[role].begins))

    async def all_begun(self, *roles: str) -> None:
        """Wait until every one of these roles has begun."""
        await until(
            lambda: all(self.begun(role) >= self.counts[role] for role in roles),
            lambda: {role: self.begun(role) for role in roles},
        )

    async def stop(self) -> None:
        """Have all of them end, who asks first."""
        for crew in reversed(list(self.roles.values())):
            await crew.stop()

    def troubles(self) -> Iterator[str]:
        """What nobody should read."""
        return chain.from_iterable(crew.troubles() for crew in self.roles.values())


@asynccontextmanager
async def crews(
    servers: Site, folder: Path, counts: Mapping[str, int] = ROLES, slots: int = 1
) -> AsyncIterator[Crews]:
    """All roles, at work; whatever happens, nothing of them is left."""
    found = Crews(servers, folder, counts, slots)
    async with AsyncExitStack() as stack:
        for role, crew in found.roles.items():
            if role == RUNNER:  # the API makes their token
                await found.all_begun("api")
            await stack.enter_async_context(crew)
        await found.all_begun(*counts)
        try:
            yield found
        except BaseException:
            print(*found.troubles(), sep="\n\n")
            raise
        finally:
            if LOGS:
                copytree(folder, Path(LOGS) / folder.name, ignore=_no_log, dirs_exist_ok=True)
    left = {role: crew.left_behind() for role, crew in found.roles.items() if crew.left_behind()}
    assert not left, f"processes were left behind: {left}"


def _no_log(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if not name.endswith(".log")]


def _free_port() -> int:
    """A port that nobody is given for a connection while the API is away: those are higher."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
