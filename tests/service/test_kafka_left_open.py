"""A broker that was killed and forgets what it had to write down leaves no damage."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog.testing
from aiokafka import TopicPartition

from adapters.kafka.connection import Address, ended, running, started
from adapters.kafka.log import open_log
from adapters.kafka.owner import producer
from adapters.log import Owner
from docker.kafka.broker import cluster
from tests.contract.counter import CODEC, Count, asked, batch
from tests.contract.places import taken
from tests.contract.recording import all_of

pytestmark = [pytest.mark.service, pytest.mark.slow]

PARTITIONS = 12
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def left_open(address: Address, partition: int, seconds: float) -> object:
    """Leave a transaction of a partition's owner open, which may last so long."""
    own = producer(address, partition)
    own._txn_manager.transaction_timeout_ms = int(seconds * 1e3)
    await started(own)
    await own.begin_transaction()
    await own.send_and_wait(address.topic("events"), b"{}", b"", partition)
    return own


async def test_what_a_killed_broker_left_open_never_comes_true(reachable: Path) -> None:
    """Those transactions of which the time runs out while it starts, it only says to be aborted."""
    async with cluster(reachable / "left-open") as servers:
        address = Address(servers.bootstrap)
        async with open_log(address, CODEC, partitions=PARTITIONS):
            pass
        owners = [await left_open(address, n, 0.5 + n * 0.5) for n in range(PARTITIONS)]
        [node] = servers.nodes
        await node.kill()
        await asyncio.gather(*(ended(own) for own in owners))
        await node.start()
        with structlog.testing.capture_logs():
            async with (
                open_log(address, CODEC, lease=1.0) as log,
                log.join("a") as membership,
            ):
                for partition in range(PARTITIONS):
                    owner: Owner = await taken(membership, partition)
                    assert [] == [event async for page in owner.history() for event in page]
                    await owner.resume(0)
                    command = asked(Count())
                    await owner.commit(batch(command, NOW, version=1, sequence=1, upto=0))
                    await owner.release()
                for partition in range(PARTITIONS):
                    assert [1] == [one.sequence for one in await all_of(log, partition, 1)]
                    await nothing_is_open(address, partition)


async def nothing_is_open(address: Address, partition: int) -> None:
    """Readers of what is committed see as far as others do."""
    events = TopicPartition(address.topic("events"), partition)
    ends = []
    for isolation in ("read_committed", "read_uncommitted"):
        async with running(address.consumer(isolation_level=isolation)) as consumer:
            ends.append((await consumer.end_offsets([events]))[events])
    assert ends[0] == ends[1]
