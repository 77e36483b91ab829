"""How far the partitions are, and who has them, as far as the cluster knows.

Who owns a partition the broker knows only as a transactional id, which has no name for people; so
the group's member is told, who may take it. For how long it is heard of, nobody can ask.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from adapters.kafka.connection import REQUEST, Address, translated
from adapters.kafka.reading import last_event
from adapters.log import Standing


async def standings(
    address: Address, admin: Any, consumer: Any, partitions: int
) -> Sequence[Standing]:
    """One look at all partitions of the log. Raises Unavailable."""
    commands = [TopicPartition(address.topic("commands"), n) for n in range(partitions)]
    with translated():
        async with asyncio.timeout(REQUEST):
            ends = await consumer.end_offsets(commands)
            committed = await admin.list_consumer_group_offsets(address.group, partitions=commands)
            owners = await _owners(address, admin)
            found = []
            for one in commands:
                events = TopicPartition(address.topic("events"), one.partition)
                last = await last_event(consumer, events)
                offset = committed[one].offset if one in committed else 0
                found.append(
                    Standing(
                        partition=one.partition,
                        inbox=int(ends[one]),
                        decided=max(offset, last.upto if last else 0, 0),
                        events=last.sequence if last else 0,
                        owner=owners.get(one.partition),
                    )
                )
    return found


async def _owners(address: Address, admin: Any) -> Mapping[int, str]:
    """The name of the member to which the group gives a partition, by partition."""
    owners: dict[int, str] = {}
    for response in await admin.describe_consumer_groups([address.group]):
        for group in response.groups:
            for _, client, _, _, assignment in group[5]:
                if assignment:
                    given = ConsumerProtocolMemberAssignment.decode(assignment)
                    for _, numbers in given.assignment:
                        owners.update(dict.fromkeys(numbers, client))
    return owners
