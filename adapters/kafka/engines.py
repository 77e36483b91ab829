"""Which engine has a partition, as the coordinator of their group knows it."""

import asyncio
from typing import Any, Final

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code

from adapters.kafka.connection import REQUEST, Address, translated
from adapters.library import PartitionOwned

AGAIN: Final = 0.05
"""Seconds until a coordinator is asked again that has only just begun."""


async def refuse_if_owned(admin: Any, address: Address, partition: int) -> None:
    """Raise PartitionOwned if a live engine has the partition, or may have it in a moment.

    While the group is shared out anew nobody can say who has what; but then somebody has it. An
    engine that has died is live as long as its lease. Raises Unavailable.
    """
    with translated():
        async with asyncio.timeout(REQUEST):
            state, members = await _described(admin, address.group)
    for _, name, _, _, assignment in members:
        if state != "Stable" or partition in _assigned(assignment):
            whose = f"the engine {name}" if state == "Stable" else "the engines, who share anew"
            raise PartitionOwned(
                f"partition {partition} belongs to {whose}, its only writer: "
                "send it commands instead"
            )


async def _described(admin: Any, group: str) -> tuple[str, Any]:
    """The state of the group and its members."""
    while True:
        try:
            [response] = await admin.describe_consumer_groups([group])
            [(code, _, state, _, _, members, *_)] = response.groups
            if not code:
                return state, members
            error: KafkaError = for_code(code)(group)
        except KafkaError as failure:
            error = failure
        if not error.retriable:
            raise error
        await asyncio.sleep(AGAIN)


def _assigned(assignment: bytes) -> set[int]:
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return {one.partition for one in decoded.partitions()}
