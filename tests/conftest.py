"""Real servers for the tests: one PostgreSQL and one Kafka a session, a log of its own a test."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import pytest_asyncio

from adapters.postgres.connection import Address
from adapters.postgres.server import bundled
from docker.kafka.broker import cluster


def pytest_unconfigure() -> None:
    """Leave nothing to collect when the interpreter ends.

    With msgspec's Meta its last collection crashes now and then (msgspec's issue 717), and a run in
    which every test has passed ends with status 139.
    """
    gc.freeze()


@pytest.fixture(scope="session")
def reachable() -> Iterator[Path]:
    """A directory that the servers' own user reaches; pytest's are root's alone for root."""
    with TemporaryDirectory(prefix="turnstile-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_dsn(reachable: Path) -> AsyncIterator[str]:
    """A PostgreSQL for the session. Nothing that uses it tests durability, so fsync is off."""
    async with bundled(reachable / "postgres", fsync=False) as server:
        yield server.dsn


@pytest.fixture
def address(postgres_dsn: str) -> Address:
    """A place for a log of its own."""
    return Address(postgres_dsn, f"t_{uuid4().hex[:12]}")


BROKER = {
    # A test's engine is given up sooner than anybody else's.
    "group.min.session.timeout.ms": "100",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(reachable: Path) -> AsyncIterator[str]:
    """Where a Kafka for the session is: `host:port`, or what TURNSTILE_TEST_KAFKA says."""
    if servers := os.environ.get("TURNSTILE_TEST_KAFKA"):
        yield servers
        return
    async with cluster(reachable / "kafka", settings=BROKER) as started:
        yield started.bootstrap
