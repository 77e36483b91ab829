"""A producer without transactions, for all in a process who need one.

aiokafka's may be over for good after a failure: whatever it is asked to send fails from then on. So
after a failure it is made anew, while the one that failed is ended.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from adapters.kafka.connection import Address, ended, started
from adapters.log import Unavailable

log = structlog.get_logger()


class Plain:
    """`current` is the producer to be used now; whoever it fails says so."""

    def __init__(self, address: Address, current: Any) -> None:
        self.current = current
        self._address = address
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: Any = None

    def failed(self, producer: Any) -> None:
        """This one has failed: make another, if it is in use still and nobody does so already."""
        if producer is self.current and producer is not self._failed:
            self._failed = producer
            self._begin(self._renew(producer))

    async def _renew(self, old: Any) -> None:
        try:
            self.current = await started(self._address.producer())
        except Unavailable:
            self._failed = None  # the next failure tries again
            return
        log.info("producer_renewed")
        self._begin(ended(old))

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End it, and whatever is being made or ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await ended(self.current)


@asynccontextmanager
async def plain(address: Address) -> AsyncIterator[Plain]:
    """A producer, as long as the context lasts. Raises Unavailable."""
    opened = Plain(address, await started(address.producer()))
    try:
        yield opened
    finally:
        await opened.close()
