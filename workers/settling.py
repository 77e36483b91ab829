"""Settling: logs whose attempt is over are ended, and what has ended goes to the object store.

A log ends with what its runner says last. One whose runner died would never end, and what a process
was about to do when it died would stay undone: so each API looks for both from time to time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Final

import structlog

from adapters.postgres.logs import Logs

EVERY: Final = 15.0
"""Seconds between two rounds."""

QUIET: Final = timedelta(seconds=30)
"""For how long nothing must have come: who reports the end of an attempt has shipped its log."""

Over = Callable[[Collection[tuple[str, int]]], Awaitable[set[tuple[str, int]]]]
"""Which of these attempts, by ticket and token, have ended."""

log = structlog.get_logger()


class Settling:
    """Settles what is left, for ever."""

    def __init__(
        self, logs: Logs, over: Over, *, every: float = EVERY, quiet: timedelta = QUIET
    ) -> None:
        self._logs = logs
        self._over = over
        self._every = every
        self._quiet = quiet

    async def run(self) -> None:
        """One round after another; what is away may come again."""
        while True:
            try:
                await self.round()
            except Exception as error:  # else the logs of runners that died would never end
                log.warning("logs_not_settled", error=repr(error))
            await asyncio.sleep(self._every)

    async def round(self) -> None:
        """Look at all that is not settled. Raises Unavailable."""
        after = ("", 0)
        while some := await self._logs.unsettled(self._quiet, after):
            over = await self._over([(ticket, token) for ticket, token, ended in some if not ended])
            for ticket, token, ended in some:
                if (ticket, token) in over:
                    await self._logs.end(ticket, token)
                await self._logs.seal(ticket, token)
                if not ended and (ticket, token) in over:
                    log.info("log_ended", ticket=ticket, token=token)
            after = some[-1][:2]
