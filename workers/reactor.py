"""The reactor: follows the log's events and sends the commands that policies ask for.

Any number of them share the partitions, as projectors do. What follows from a batch of events is
written down with the position, sent, and crossed out: whoever is killed in between has it sent
again by the next, under the same ids.
"""

from typing import cast

import structlog

from adapters.log import Log
from adapters.views import Fold, Reaction, View
from workers.projector import Projector
from workers.watchdog import Watchdog

log = structlog.get_logger()

TOGETHER = 1_000
"""Commands that are sent at once, at most."""


class Reactor(Projector):
    """Applies the policies to the partitions that it is granted, until it is stopped.

    The folds of its *view* are reactions.
    """

    def __init__(
        self, name: str, log: Log, view: View, *, watchdog: Watchdog | None = None
    ) -> None:
        super().__init__(name, log, [view], watchdog=watchdog)

    async def _settle(self, fold: Fold) -> None:
        """Send what was written down, also by who had the partition before."""
        reaction = cast("Reaction", fold)
        while commands := (await reaction.outbox())[:TOGETHER]:
            await self._log.send(commands)
            await reaction.sent(commands)
            log.info("reacted", partition=fold.partition, commands=len(commands))
