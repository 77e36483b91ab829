"""The library's published cases for recorders, on a log of one partition.

They are weak evidence: `test_recorder.py` has the stronger.
"""

from unittest import TestCase
from uuid import uuid4

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.tests import persistence as published
from eventsourcing.utils import Environment

from adapters.postgres import Factory
from adapters.postgres.connection import Address
from adapters.postgres.recorder import (
    PostgresAggregateRecorder,
    PostgresApplicationRecorder,
    PostgresProcessRecorder,
    PostgresTrackingRecorder,
)

pytestmark = pytest.mark.service


class OnPostgres(TestCase):
    """Gives each case a factory with a schema of its own."""

    env: Environment

    @pytest.fixture(autouse=True)
    def _place(self, address: Address) -> None:
        self.env = Environment(
            env={
                "PERSISTENCE_MODULE": "adapters.postgres",
                "DATABASE_URL": address.dsn,
                "TURNSTILE_SCHEMA": address.schema,
                "TURNSTILE_PARTITIONS": "1",
            }
        )

    def made(self) -> Factory:
        factory = Factory(self.env)
        self.addCleanup(factory.close)
        return factory

    def new_originator_id(self) -> str:
        return f"example/{uuid4()}"


class TestAggregateRecorder(OnPostgres, published.AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.made().aggregate_recorder()


class TestApplicationRecorder(
    OnPostgres, published.ApplicationRecorderTestCase[PostgresApplicationRecorder]
):
    def create_recorder(self) -> PostgresApplicationRecorder:
        return self.made().application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnPostgres, published.TrackingRecorderTestCase):
    def create_recorder(self) -> TrackingRecorder:
        return self.made().tracking_recorder()


class TestProcessRecorder(OnPostgres, published.ProcessRecorderTestCase):
    def create_recorder(self) -> ProcessRecorder:
        return self.made().process_recorder()


class TestNotificationIdsDoNotInterleave(
    OnPostgres, published.NonInterleavingNotificationIDsBaseCase
):
    def create_recorder(self) -> ApplicationRecorder:
        return self.made().application_recorder()


class TrackingRecorderOfSomebody(PostgresTrackingRecorder):
    pass


class TestFactory(OnPostgres, published.InfrastructureFactoryTestCase[Factory]):
    def expected_factory_class(self) -> type[Factory]:
        return Factory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return PostgresAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return PostgresApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return PostgresTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return TrackingRecorderOfSomebody

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        return PostgresProcessRecorder
