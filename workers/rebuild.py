"""`turnstile rebuild`: a view is folded again beside the one in use, and takes its place."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import structlog

from adapters.log import Log, Unavailable
from adapters.postgres.connection import Address
from adapters.postgres.views.rebuilding import beside, check_place, positions, swap
from adapters.views import View
from workers.projector import Projector

log = structlog.get_logger()

LOOK = 0.2
"""Seconds between two looks at how far it is."""

NEAR = 2_000
"""Events that may be missing when the view in use is asked to wait for the rest."""

Progress = Callable[[int, int], None]
"""Told now and then how many events are folded, and of how many."""


class Rebuild:
    """Folds a view again. What one that was killed had folded is gone on with."""

    def __init__(
        self,
        log: Log,
        live: Address,
        again: Callable[[Address], Awaitable[View]],
        *,
        progress: Progress = lambda done, of: None,
    ) -> None:
        self._log = log
        self._live = live
        self._again = again
        self._progress = progress

    async def run(self) -> int:
        """Do it; the number of events that were folded.

        Raises OldViewKept if there is no place to keep the view in use, and what a projector
        raises.
        """
        await check_place(self._live)
        began = monotonic()
        projector = Projector("rebuild", self._log, [await self._again(beside(self._live))])
        folding = asyncio.create_task(projector.run())

        async def stop() -> None:
            projector.stop()
            await folding

        try:
            while True:
                ends = await self._near(folding)
                try:
                    await swap(self._live, ends, stop)
                    break
                except (TimeoutError, Unavailable) as error:
                    if folding.done():
                        raise
                    log.warning("swap_again", reason=str(error) or "it has not caught up")
        finally:
            await stop()
        seconds = monotonic() - began
        log.info("rebuilt", view=self._live.schema, events=sum(ends), seconds=round(seconds, 1))
        return sum(ends)

    async def _near(self, folding: "asyncio.Task[None]") -> Sequence[int]:
        """Wait until little is missing; the ends of the log's partitions."""
        while True:
            ends = [await self._log.end(n) for n in range(self._log.partitions)]
            done = await positions(beside(self._live))
            self._progress(sum(done), sum(ends))
            if sum(ends) - sum(done) <= NEAR:
                return ends
            await asyncio.wait({folding}, timeout=LOOK)
            if folding.done():
                folding.result()
