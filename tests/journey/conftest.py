"""A service that runs, for each log."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.journey.running import Site, running


@pytest.fixture(scope="session")
def on_postgres(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service with its log in PostgreSQL."""
    with running(_data(tmp_path_factory), **_database(postgres_dsn)) as site:
        yield site


@pytest.fixture(scope="session")
def on_kafka(
    postgres_dsn: str, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The service with its log in Kafka."""
    settings = {"TURNSTILE_KAFKA": kafka, "TURNSTILE_KAFKA_TOPICS": f"j_{uuid4().hex[:12]}"}
    with running(_data(tmp_path_factory), **_database(postgres_dsn), **settings) as site:
        yield site


@pytest.fixture(params=["postgres", "kafka"])
def site(request: pytest.FixtureRequest) -> Site:
    """The service on each log; whoever uses it has tickets of his own."""
    found: Site = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture
def ticket() -> str:
    """The id of a ticket of the test's own."""
    return f"t-{uuid4().hex[:12]}"


def _data(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("data")


def _database(dsn: str) -> dict[str, str]:
    return {"DATABASE_URL": dsn, "TURNSTILE_SCHEMA": f"t_{uuid4().hex[:12]}"}
