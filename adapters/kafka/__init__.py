"""Apache Kafka: the log of more than one machine, through aiokafka's transactions; its recorder.

The `eventsourcing` library finds its factory here: `PERSISTENCE_MODULE=adapters.kafka`.
"""

from adapters.kafka.recorder import Factory

__all__ = ["Factory"]
