"""Looks at how far engines and projectors are, and judges whether they move."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from adapters.log import Log
from adapters.views import View
from projections.progress import ENGINE, Course, Judged, judged

PAUSE = 1.0
"""Seconds between the two looks of which a judgement is made."""

FRESH = 0.5
"""Seconds for which a look serves whoever asks."""


class Progress:
    """Judges all partitions, for an engine and for each of some views; needs no HTTP.

    It remembers since when something has not moved, as long as it is asked now and then.
    """

    def __init__(
        self,
        log: Log,
        views: Sequence[View],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._views = views
        self._clock = clock
        self._last: Sequence[Judged] = ()
        self._looked = float("-inf")
        self._one_look = asyncio.Lock()

    async def judge(self) -> Sequence[Judged]:
        """All courses, judged; with a second look if one of them is behind. Raises Unavailable."""
        found = await self._judge(FRESH)
        if not all(one.is_well for one in found):
            await asyncio.sleep(PAUSE)
            found = await self._judge(0)
        return found

    async def glance(self) -> Sequence[Judged]:
        """The same of one look, which tells positions and hardly movement."""
        return await self._judge(FRESH)

    async def _judge(self, fresh: float) -> Sequence[Judged]:
        now = asyncio.get_running_loop().time
        asked = now()
        async with self._one_look:
            if self._looked < asked - fresh:
                began = now()
                looked = await look(self._log, self._views)
                self._last = judged(self._last, looked, self._clock())
                self._looked = began
            return self._last


async def look(log: Log, views: Sequence[View]) -> Sequence[Course]:
    """One look at everything, the views first: so none seems ahead of the log."""
    folded = [(view.name, await view.standings()) for view in views]
    standings = await log.standings()
    courses = [
        Course(ENGINE, one.partition, one.decided, one.inbox, one.owner, one.lease, one.vacant)
        for one in standings
    ]
    for name, partitions in folded:
        courses += (
            Course(name, n.partition, n.sequence, one.events, n.owner, n.lease, n.vacant)
            for n, one in zip(partitions, standings, strict=True)
        )
    return courses
