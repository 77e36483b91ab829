"""The committed records of one partition, read wherever one likes."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from adapters.kafka.connection import REQUEST, Address, ended, started, translated
from adapters.kafka.reading import last_stable
from adapters.log import Gap

PAGE: Final = 1_000
"""Records that are read at once."""

PAGE_BYTES: Final = 256 * 1024

LOOK: Final = 5
"""Milliseconds between two looks for what has been fetched, and that the broker may wait for more:
until it has answered, nothing can be fetched from another place."""


class Tail:
    """Reads through a consumer of its own, which is made at the first use and belongs to no group.

    It fetches nothing while nobody reads. Raises Unavailable when the cluster is away.
    """

    def __init__(self, address: Address, topic: str, partition: int) -> None:
        self.partition = TopicPartition(address.topic(topic), partition)
        self._address = address
        self._consumer: Any = None
        self._one_reader = asyncio.Lock()
        self._starting = asyncio.Lock()

    async def end(self) -> int:
        """The last stable offset: behind everything that was committed, and is known to be."""
        async with self._one_reader:
            consumer = await self._opened()
            with translated():
                return await last_stable(consumer, self.partition)

    async def page(self, start: int) -> tuple[Sequence[Any], int]:
        """Records from an offset on, which must be before the end, and the offset to go on from.

        There may be none: a transaction leaves a mark, which is no record, in the partition.
        """
        partition = self.partition
        async with self._one_reader:
            consumer = await self._opened()
            try:
                with translated():
                    async with asyncio.timeout(REQUEST):
                        if await consumer.position(partition) != start:
                            consumer.seek(partition, start)
                        consumer.resume(partition)
                        while True:
                            found = await consumer.getmany(
                                partition, timeout_ms=LOOK, max_records=PAGE
                            )
                            behind = await consumer.position(partition)
                            if found or behind > start:
                                return found.get(partition, ()), behind
            finally:
                consumer.pause(partition)

    async def at(self, offsets: Iterable[int]) -> Mapping[int, Any]:
        """The records at these offsets, by offset. Raises Gap if one is not there any more."""
        wanted = sorted(set(offsets))
        found: dict[int, Any] = {}
        position = 0
        for offset in wanted:
            if offset - position > PAGE:
                position = offset
            while offset not in found:
                if position > offset:
                    raise Gap(f"{self.partition} has no record at {offset} any more")
                page, position = await self.page(position)
                found.update((record.offset, record) for record in page)
        return {offset: found[offset] for offset in wanted}

    async def close(self) -> None:
        """End the consumer, once it has started if it is about to."""
        async with self._starting:
            consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await ended(consumer)

    async def _opened(self) -> Any:
        async with self._starting:
            if self._consumer is None:
                consumer = self._address.consumer(
                    fetch_max_wait_ms=LOOK, max_partition_fetch_bytes=PAGE_BYTES
                )
                await started(consumer)
                consumer.assign([self.partition])
                consumer.seek(self.partition, 0)
                consumer.pause(self.partition)
                self._consumer = consumer
            return self._consumer
