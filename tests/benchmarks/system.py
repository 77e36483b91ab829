"""What is measured: the log's servers and the engines, as processes of their own.

A log is a function that starts its servers on a folder and says by which environment engines and
driver find them: add it to `LOGS`.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg
from msgspec import Struct

from adapters import config
from adapters.asking import Asker, asking
from adapters.postgres.connection import Address
from adapters.postgres.server import bundled
from docker.kafka.broker import cluster, version
from tests.benchmarks.cpu import Meter
from tests.benchmarks.engines import Engines, running
from tests.benchmarks.settings import SettingsError
from workers.compose import Service, assemble


class Servers(Struct, frozen=True):
    """A log's servers: where they are, their process ids by name, their versions by name."""

    environment: Mapping[str, str]
    processes: Mapping[str, Sequence[int]]
    versions: Mapping[str, str]


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Servers]:
    """The bundled PostgreSQL; a commit is on the disk when it is said to be."""
    async with bundled(folder / "postgres") as server:
        connection = await asyncpg.connect(server.dsn)
        try:
            version = ".".join(map(str, connection.get_server_version()[:2]))
        finally:
            await connection.close()
        yield Servers(
            environment={"DATABASE_URL": server.dsn},
            processes={"postgres": [server.pid]},
            versions={"PostgreSQL": version},
        )


@asynccontextmanager
async def kafka(folder: Path) -> AsyncIterator[Servers]:
    """One node of Apache Kafka, as `docker/kafka/broker.py` starts it, and PostgreSQL for the
    views. Kafka leaves fsync to the system: many nodes keep a record, not one disk."""
    async with cluster(folder / "kafka") as servers, postgres(folder) as views:
        yield Servers(
            environment={"TURNSTILE_KAFKA": servers.bootstrap, **views.environment},
            processes={"kafka": [node.pid for node in servers.nodes], **views.processes},
            versions={"Kafka": version(), **views.versions},
        )


LOGS: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[Servers]]]] = {
    "postgres": postgres,
    "kafka": kafka,
}


class System(Struct, frozen=True):
    """What the modes drive, from this process."""

    log: str
    service: Service
    asker: Asker
    engines: Engines
    views: Address | None
    meter: Meter
    versions: Mapping[str, str]
    fsync_ms: float
    environment: Mapping[str, str]
    folder: Path

    @property
    def database(self) -> Address:
        """Where views and snapshots are."""
        return Address(self.environment["DATABASE_URL"])


@asynccontextmanager
async def started(
    log: str,
    engines: int,
    *,
    views: bool,
    partitions: int | None = None,
    roles: Sequence[str] = (),
) -> AsyncIterator[System]:
    """The log's servers, the engines, and an asker; and one process of each of the *roles*.

    Raises EngineEnded out of the body.
    """
    if log not in LOGS:
        raise SettingsError(f"LOG={log}: the logs are {', '.join(LOGS)}")
    with tempfile.TemporaryDirectory(prefix="turnstile-bench-") as name:
        os.chmod(name, 0o711)  # noqa: PTH101 - a server of root's runs as another user
        folder = Path(name)
        async with LOGS[log](folder) as servers:
            environment = {
                **os.environ,
                **servers.environment,
                "TURNSTILE_DATA": str(folder / "data"),
                "TURNSTILE_HTTP": "127.0.0.1:0",
            }
            if partitions is not None:
                environment["TURNSTILE_PARTITIONS"] = str(partitions)
            async with (
                assemble(config.read(environment), views=()) as service,
                running(engines, environment, folder) as fleet,
                running(int(views), environment, folder, "projector") as projectors,
                asking(service.log) as asker,
                AsyncExitStack() as stack,
            ):
                others = {
                    role: await stack.enter_async_context(running(1, environment, folder, role))
                    for role in roles
                }
                if engines > 1:  # let them share the partitions before anything is measured
                    await asyncio.sleep(service.config.lease)
                yield System(
                    log=log,
                    service=service,
                    asker=asker,
                    engines=fleet,
                    views=Address(servers.environment["DATABASE_URL"]) if views else None,
                    meter=Meter(
                        {
                            "engine": fleet.pids,
                            "projector": projectors.pids,
                            **{role: one.pids for role, one in others.items()},
                            **servers.processes,
                        }
                    ),
                    versions=servers.versions,
                    fsync_ms=_fsync_ms(folder),
                    environment=environment,
                    folder=folder,
                )


def _fsync_ms(folder: Path) -> float:
    """What the disk takes for a small write to be safe, milliseconds, p50."""
    took: list[float] = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(50):
            file.write(bytes(8192))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return median(took)
