"""As long as an API serves, it notes that heartbeats can come in. Else nothing runs out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

EACH: Final = 1.0
"""Seconds between two notes."""

log = structlog.get_logger()


async def hear(note: Callable[[], Awaitable[None]] | None) -> None:
    """Note it for ever, from the loop that takes heartbeats in: one that hangs does not note it."""
    while note is not None:
        try:
            await note()
        except Exception as error:  # also a table that is being made anew
            log.warning("not_hearing", error=repr(error))
        await asyncio.sleep(EACH)
