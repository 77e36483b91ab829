"""What an earlier owner has left open is ended for certain before anything is read.

The fence ends the earlier owner's transaction: so the broker says. But one that was killed, and
took longer to come back than the transaction might last, declares it aborted and never writes that
down (seen with Kafka 4.3, one node). What it had written then stays open: it holds back every
reader, and would come true with the next commit of the same producer. So the first transaction of
an owner is one that is aborted: what ends it, ends all that was open.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from adapters.kafka.connection import FAILURES, REQUEST, meaning
from adapters.kafka.reading import last_stable
from adapters.log import Unavailable

PATIENCE: Final = 5.0
"""Seconds after which what is open must be somebody else's."""

log = structlog.get_logger()


async def settled(
    own: Any,
    consumer: Any,
    partitions: Sequence[TopicPartition],
    offsets: tuple[str, TopicPartition] | None = None,
) -> None:
    """End what a producer's predecessors have left open in the partitions.

    So also in the *offsets* of a group. Raises Fenced; and Unavailable, also where something stays
    open that is none of theirs.
    """
    sent: list[asyncio.Future[Any]] = []
    try:
        async with asyncio.timeout(REQUEST):
            stable = {one: await last_stable(consumer, one) for one in partitions}
            await own.begin_transaction()
            for one in partitions:
                # With a key, which compacted topics want.
                sending = await own.send(one.topic, b"", b"", one.partition)
                sent.append(sending)
            written = await asyncio.gather(*sent)
            if offsets is not None:
                group, commands = offsets
                await own.send_offsets_to_transaction({commands: OffsetAndMetadata(0, "")}, group)
            await own.abort_transaction()
            for one, record in zip(partitions, written, strict=True):
                await _until_readable(consumer, one, record.offset)
    except FAILURES as error:
        failures = [one.exception() for one in sent if one.done() and not one.cancelled()]
        raise meaning([error, *(one for one in failures if one is not None)]) from error
    for one, record in zip(partitions, written, strict=True):
        if record.offset > stable[one]:
            records = record.offset - stable[one]
            log.warning("left_open", topic=one.topic, partition=one.partition, records=records)


async def _until_readable(consumer: Any, partition: TopicPartition, offset: int) -> None:
    deadline = monotonic() + PATIENCE
    while await last_stable(consumer, partition) <= offset:
        if monotonic() > deadline:
            raise Unavailable(
                f"Kafka: {partition.topic}, partition {partition.partition}, has an open "
                "transaction of a producer that is none of ours (kafka-transactions.sh "
                "find-hanging, abort)"
            )
        await asyncio.sleep(0.005)
