"""The same commands where Apache Kafka keeps the log."""

import json
import signal
from uuid import uuid4

import pytest

from adapters.kafka.connection import Address, running
from adapters.kafka.topics import TOPICS
from adapters.postgres.connection import Address as PostgresAddress
from tests.journey.command import PATIENCE, turnstile
from tests.journey.serving import serving
from tests.journey.test_command_line import EXIT_LOG

pytestmark = pytest.mark.service

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def at(kafka: str) -> Address:
    """A place for topics of a test's own."""
    return Address(kafka, f"t_{uuid4().hex[:12]}")


@pytest.fixture
def settings(at: Address, address: PostgresAddress) -> dict[str, str]:
    """Topics and views of a test's own."""
    return {
        "TURNSTILE_KAFKA": at.servers,
        "TURNSTILE_KAFKA_TOPICS": at.topics,
        "DATABASE_URL": address.dsn,
        "TURNSTILE_SCHEMA": address.schema,
    }


async def topics(at: Address) -> set[str]:
    async with running(at.admin()) as admin:
        return set(await admin.list_topics())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_engine_that_is_told_to_stop_gives_its_partitions_back(
    settings: dict[str, str], number: signal.Signals
) -> None:
    # With such a lease a successor would have to wait for a minute.
    given = {**settings, "TURNSTILE_LEASE": 60}
    with serving(**given) as engine:
        engine.send_signal(number)
        _, errors = engine.communicate(timeout=PATIENCE)
    said = [json.loads(line) for line in errors.splitlines()]
    assert 0 == engine.returncode
    assert {0, 1, 2} == {line["partition"] for line in said if line["event"] == "released"}
    assert "engine_stopped" == said[-1]["event"]
    with serving(**given):  # at once
        pass


async def test_an_engine_makes_its_topics(at: Address, settings: dict[str, str]) -> None:
    with serving(**settings):
        assert {at.topic(name) for name in TOPICS} <= await topics(at)


def test_an_engine_without_its_cluster_ends_and_says_where_it_looked() -> None:
    ended = turnstile("engine", TURNSTILE_KAFKA=NOWHERE)
    assert EXIT_LOG == ended.returncode
    said = json.loads(ended.stderr.splitlines()[-1])
    assert ("engine_failed", NOWHERE) == (said["event"], said["kafka"])


def test_an_engine_says_which_number_of_partitions_is_wrong(settings: dict[str, str]) -> None:
    with serving(**settings):
        pass
    ended = turnstile("engine", TURNSTILE_PARTITIONS=4, **settings)
    assert EXIT_LOG == ended.returncode
    said = json.loads(ended.stderr.splitlines()[-1])
    assert "the log has 3 partitions, for ever; 4 are configured" in said["error"]
