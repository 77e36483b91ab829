"""Clients that are started by what may be cancelled meanwhile."""

import asyncio
from typing import Any

from adapters.kafka.connection import ended, started


async def begun(client: Any) -> Any:
    """The client when it works, as `started` has it; whoever cancels waits until it has.

    A client of aiokafka that is cut off while it starts leaves connections open behind it.
    """
    starting = asyncio.create_task(started(client))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if not starting.cancelled() and starting.exception() is None:
            await ended(client)
        raise
