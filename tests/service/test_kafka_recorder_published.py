"""The library's published cases for recorders, on a log in Kafka of one partition.

They pass with no write to Kafka at all: `test_kafka_recorder.py` has what proves more.
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

from adapters.kafka import Factory
from adapters.recorders import (
    LogAggregateRecorder,
    LogApplicationRecorder,
    LogProcessRecorder,
    LogTrackingRecorder,
)

pytestmark = pytest.mark.service


class OnKafka(TestCase):
    """Gives each case a factory with topics of its own."""

    env: Environment

    @pytest.fixture(autouse=True)
    def _place(self, kafka: str) -> None:
        self.env = Environment(
            env={
                "PERSISTENCE_MODULE": "adapters.kafka",
                "TURNSTILE_KAFKA": kafka,
                "TURNSTILE_KAFKA_TOPICS": f"t_{uuid4().hex[:12]}",
                "TURNSTILE_PARTITIONS": "1",
            }
        )

    def made(self) -> Factory:
        factory = Factory(self.env)
        self.addCleanup(factory.close)
        return factory

    def new_originator_id(self) -> str:
        return f"example/{uuid4()}"


class TestAggregateRecorder(OnKafka, published.AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.made().aggregate_recorder()


class TestApplicationRecorder(
    OnKafka, published.ApplicationRecorderTestCase[LogApplicationRecorder]
):
    def create_recorder(self) -> LogApplicationRecorder:
        return self.made().application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnKafka, published.TrackingRecorderTestCase):
    def create_recorder(self) -> TrackingRecorder:
        return self.made().tracking_recorder()


class TestProcessRecorder(OnKafka, published.ProcessRecorderTestCase):
    def create_recorder(self) -> ProcessRecorder:
        return self.made().process_recorder()


class TestNotificationIdsDoNotInterleave(OnKafka, published.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> ApplicationRecorder:
        return self.made().application_recorder()


class TrackingRecorderOfSomebody(LogTrackingRecorder):
    pass


class TestFactory(OnKafka, published.InfrastructureFactoryTestCase[Factory]):
    def expected_factory_class(self) -> type[Factory]:
        return Factory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return LogAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return LogApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return LogTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return TrackingRecorderOfSomebody

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        return LogProcessRecorder
