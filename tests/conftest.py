"""Real servers for the tests: one bundled PostgreSQL a session, one schema a test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import pytest_asyncio

from adapters.postgres.connection import Address
from adapters.postgres.server import bundled


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
