"""The topics in which foreign producers ask: made where they are missing, or as they are."""

import asyncio
from collections.abc import Collection
from time import monotonic
from typing import Any, Final

import structlog
from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from adapters.kafka.connection import Address, running, translated
from adapters.kafka.topics import DAY, SETTLED
from adapters.log import Unavailable, WrongLog

SETTINGS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(14 * DAY),
    # A producer whose clock is wrong must not have its requests deleted at once, or never.
    "message.timestamp.type": "LogAppendTime",
}

log = structlog.get_logger()


async def prepare(
    address: Address, topics: Collection[str], partitions: int, replication: int | None
) -> None:
    """Make those that are missing, with so many *partitions* and, as the log's, replicas.

    Raises:
        WrongLog: one cannot be made.
        Unavailable: the cluster is away, or one has no leader.
    """
    async with running(address.admin()) as admin:
        with translated():
            missing = set(topics) - await _served(admin, topics)
            if missing:
                await _create(admin, missing, partitions, replication)
            deadline = monotonic() + SETTLED
            while missing := set(topics) - await _served(admin, topics):
                if monotonic() > deadline:
                    raise Unavailable(f"Kafka: {sorted(missing)} without a leader")
                await asyncio.sleep(0.05)


async def _served(admin: Any, topics: Collection[str]) -> set[str]:
    """Those that are there, all of their partitions with a leader."""
    return {
        topic["topic"]
        for topic in await admin.describe_topics(list(topics))
        if topic["error_code"] == 0 and all(one["leader"] >= 0 for one in topic["partitions"])
    }


async def _create(
    admin: Any, topics: Collection[str], partitions: int, replication: int | None
) -> None:
    replicas = replication or min(3, len((await admin.describe_cluster())["brokers"]))
    settings = SETTINGS | {"min.insync.replicas": str(max(1, replicas - 1))}
    response = await admin.create_topics(
        [NewTopic(topic, partitions, replicas, topic_configs=settings) for topic in sorted(topics)]
    )
    for topic, code, *reason in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise WrongLog(f"the topic {topic!r} cannot be made: {error.__name__} {reason}")
    log.info("request_topics_made", topics=sorted(topics), partitions=partitions, replicas=replicas)
