"""The suite runs once for every log that there is."""

import pytest

from adapters.postgres.connection import Address
from tests.contract.places import Place, PostgresPlace


@pytest.fixture(params=["postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """A log of the test's own, on each kind of server."""
    address: Address = request.getfixturevalue("address")
    return PostgresPlace(address)
