"""Real servers for the tests: one bundled PostgreSQL a session, one schema a test."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from adapters.postgres.connection import Address
from adapters.postgres.server import bundled


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A PostgreSQL for the session. Nothing that uses it tests durability, so fsync is off."""
    data: Path = tmp_path_factory.mktemp("postgres") / "data"
    async with bundled(data, fsync=False) as server:
        yield server.dsn


@pytest.fixture
def address(postgres_dsn: str) -> Address:
    """A place for a log of its own."""
    return Address(postgres_dsn, f"t_{uuid4().hex[:12]}")
