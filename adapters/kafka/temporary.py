"""Topics for a while: a place for a log in somebody's cluster that leaves nothing behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import msgspec
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.kafka.connection import Address, running, translated
from adapters.kafka.topics import TOPICS

SHORTEST: Final = "group.min.session.timeout.ms"


@asynccontextmanager
async def temporary(address: Address, prefix: str, *, keep: bool = False) -> AsyncIterator[Address]:
    """The same cluster under a name by the prefix and chance.

    Its topics are deleted at the end, unless they are to be kept. Raises Unavailable.
    """
    own = msgspec.structs.replace(address, topics=f"{prefix}-{uuid4().hex[:8]}")
    try:
        yield own
    finally:
        if not keep:
            async with running(own.admin()) as admin:
                with translated():
                    await admin.delete_topics([own.topic(name) for name in TOPICS])


async def shortest_lease(address: Address) -> float:
    """Seconds of the shortest lease that the brokers take."""
    async with running(address.admin()) as admin:
        with translated():
            node = (await admin.describe_cluster())["brokers"][0]["node_id"]
            asked = ConfigResource(ConfigResourceType.BROKER, str(node), {SHORTEST: ""})
            [response] = await admin.describe_configs([asked])
    entries = response.resources[0][4]
    return int(entries[0][1]) / 1e3 if entries else 6.0
