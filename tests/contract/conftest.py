"""The suite runs once for every log that there is."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.postgres.connection import Address
from tests.contract.places import Place, PostgresPlace
from tests.contract.places_kafka import KafkaPlace
from tests.kafka_proxy import proxied


@pytest.fixture
def on_postgres(address: Address) -> Place:
    return PostgresPlace(address)


@pytest_asyncio.fixture
async def on_kafka(kafka: str) -> AsyncIterator[Place]:
    async with proxied(kafka) as proxy:
        yield KafkaPlace(kafka, proxy)


@pytest.fixture(params=["postgres", "kafka"])
def place(request: pytest.FixtureRequest) -> Place:
    """A log of the test's own, on each kind of server."""
    place: Place = request.getfixturevalue(f"on_{request.param}")
    return place
