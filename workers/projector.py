"""The projector: folds the log's events into views. Any number of them share the partitions.

A view is a cache. Its rows and how far it has come become true together, so whoever folds a
partition next goes on where the one before has ended, and nothing is folded twice.
"""

import asyncio
import gc
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from time import monotonic

import structlog

from adapters.log import Fenced, Gap, Log, Unavailable, WrongLog
from adapters.views import REST, Fold, Folding, View
from domain.envelope import Recorded
from workers.feeds import IDLE, Feeds
from workers.serving import Serving, serve
from workers.watchdog import Watchdog

log = structlog.get_logger()


class Projector:
    """Folds the partitions of some views that it is granted, until it is stopped."""

    def __init__(
        self, name: str, log: Log, views: Sequence[View], *, watchdog: Watchdog | None = None
    ) -> None:
        self.name = name
        self._log = log
        self._feeds = Feeds(log)
        self._views = views
        self._watchdog = watchdog or Watchdog(None)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the batches under way, give the partitions back, and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Fold until stopped.

        Raises what makes it wrong to go on: FutureEvent and CodecError (this process is older
        than the log), Gap and VersionGap (the log is damaged), WrongLog (the view is another's).
        """
        gc.set_threshold(100_000, 50, 1_000)  # what a batch makes lives as long as the batch
        try:
            async with asyncio.TaskGroup() as group:
                for view in self._views:
                    group.create_task(self._fold(view))
        except* Exception as failed:
            raise failed.exceptions[0] from None

    async def _fold(self, view: View) -> None:
        async with view.join(self.name) as folding:
            await serve(folding, partial(self._serve, view, folding), self._stopping)

    async def _serve(self, view: View, folding: Folding, number: int, serving: Serving) -> None:
        """Take a partition of the view and fold it, until told to end or another has it."""
        name = f"{view.name} {number}"
        self._watchdog.moved(name)
        fold: Fold | None = None
        try:
            fold = await folding.take(number)
            self._watchdog.moved(name)  # each step may take long while a server is away
            after = await self._checked(view, fold)
            self._watchdog.moved(name)
            log.info("view_taken", view=view.name, partition=number, sequence=after)
            await self._settle(fold)
            self._watchdog.moved(name)
            async with self._feeds.reader(number, after) as reader:
                while not serving.stopping:
                    if events := await reader.next(REST if fold.owes else IDLE):
                        serving.may_be_cancelled = False
                        await self._apply(view, fold, events)
                        serving.may_be_cancelled = True
                        self._watchdog.moved(name)
                        if not serving.stopping:
                            await self._settle(fold)
                    elif fold.owes:
                        await fold.rest()
                    self._watchdog.moved(name)
        except (Fenced, Unavailable) as error:
            reason = str(error)
            log.warning("view_lost", view=view.name, partition=number, reason=reason)
        finally:
            self._watchdog.forget(name)
            if fold is not None:
                await fold.release()

    async def _checked(self, view: View, fold: Fold) -> int:
        """Where to go on; refuse a view that is not folded from this log."""
        if fold.sequence:
            last = await self._event(fold.partition, fold.sequence)
            if last is None or last.id != fold.event:
                raise WrongLog(
                    f"the view {view.name!r} has folded partition {fold.partition} up to "
                    f"{fold.sequence}, which is not in this log: was the log restored from a "
                    f"backup? {view.anew}"
                )
        return fold.sequence

    async def _event(self, partition: int, sequence: int) -> Recorded | None:
        if await self._log.end(partition) < sequence:
            return None
        async with aclosing(self._log.follow(partition, sequence - 1)) as pages:
            return (await anext(pages))[0]

    async def _settle(self, fold: Fold) -> None:
        """What is left to do when rows are true, also from before the fold was taken: nothing.

        It may be cancelled, or left to who takes the partition next.
        """

    async def _apply(self, view: View, fold: Fold, events: Sequence[Recorded]) -> None:
        if events[0].sequence != fold.sequence + 1:
            raise Gap(f"partition {fold.partition} has nothing behind {fold.sequence}")
        began = monotonic()
        await fold.fold(events)
        log.debug(
            "folded",
            view=view.name,
            partition=fold.partition,
            events=len(events),
            sequence=fold.sequence,
            ms=round((monotonic() - began) * 1e3, 2),
        )
