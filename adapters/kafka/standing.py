"""How far the partitions are, and who has them, as far as the cluster knows.

Who owns a partition the broker knows only as a transactional id, which has no name for people; so
the group's member is told, who may take it. For how long it is heard of, nobody can ask.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from adapters.kafka.connection import REQUEST, Address, translated
from adapters.kafka.reading import last_event
from adapters.log import Standing

BEGINNING: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
"""A broker has not begun, or not begun again, to coordinate the group."""

PAUSE: Final = 0.05


async def standings(
    address: Address, admin: Any, consumer: Any, partitions: int
) -> Sequence[Standing]:
    """One look at all partitions of the log. Raises Unavailable."""
    commands = [TopicPartition(address.topic("commands"), n) for n in range(partitions)]
    with translated():
        async with asyncio.timeout(REQUEST):
            ends = await consumer.end_offsets(commands)
            committed = await _committed(address, admin, commands)
            owners = await _owners(address, admin)
            found = []
            for one in commands:
                events = TopicPartition(address.topic("events"), one.partition)
                last = await last_event(consumer, events)
                found.append(
                    Standing(
                        partition=one.partition,
                        inbox=int(ends[one]),
                        decided=max(committed[one], last.upto if last else 0),
                        events=last.sequence if last else 0,
                        owner=owners.get(one.partition),
                    )
                )
    return found


async def _committed(
    address: Address, admin: Any, commands: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """The group's offsets, 0 where there is none."""
    while True:
        with suppress(*BEGINNING):
            found = await admin.list_consumer_group_offsets(address.group, partitions=commands)
            if all(one in found for one in commands):
                return {one: max(0, found[one].offset) for one in commands}
        await asyncio.sleep(PAUSE)


async def _owners(address: Address, admin: Any) -> Mapping[int, str]:
    """The name of the member to which the group gives a partition, by partition."""
    while True:
        with suppress(*BEGINNING):
            responses = await admin.describe_consumer_groups([address.group])
            return dict(_given(responses))
        await asyncio.sleep(PAUSE)


def _given(responses: Iterable[Any]) -> Iterator[tuple[int, str]]:
    for response in responses:
        for _, _, _, _, _, members, *_ in response.groups:
            for _, client, _, _, assignment in members:
                if assignment:
                    given = ConsumerProtocolMemberAssignment.decode(assignment)
                    for _, numbers in given.assignment:
                        yield from ((number, client) for number in numbers)
