"""The beats of a runner: the leases of all its attempts in one request, and what comes back."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Final

from adapters.client import Beat, WorkerClient, errors
from workers.runner.attempts import Attempts, Key
from workers.runner.presence import Presence

BEATS: Final = 3
"""Beats in the length of a lease, at least: one may be lost, and one late."""

MOST: Final = 1_000
"""Leases that are kept by one beat."""

IDLE: Final = 30.0
"""Seconds between two beats while there is nothing to keep: a worker that is silent is missed."""

UNKNOWN: Final = 10.0
"""Seconds after which an attempt that is ours, and that we have never heard of, is handed back: the
answer to its claim has had its time."""

_UNHEARD: Final = "the runner has never heard of it"


class Beating:
    """Keeps the leases of what is under way, and drops what was lost."""

    def __init__(self, desk: WorkerClient, presence: Presence, attempts: Attempts) -> None:
        self._desk = desk
        self._presence = presence
        self._attempts = attempts
        self._unknown: dict[Key, float] = {}
        """Attempts that we have never heard of, and since when they are ours."""
        self._dropping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Beat, for ever. Raises Refused if the runner is not wanted any more."""
        while True:
            pace = await self._next()
            try:
                beat = await self._desk.beat(list(self._attempts.kept())[:MOST], longest=pace)
            except errors.TurnstileError as error:
                await self._presence.bear(error)
            else:
                self._obey(beat)

    async def _next(self) -> float:
        """Wait until it is time for a beat; in how many seconds the next one is due.

        A lease that is shorter than the service's own pace sets the pace.
        """
        began = monotonic()
        while (left := began + (pace := self._pace()) - monotonic()) > 0:
            self._attempts.one_began.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._attempts.one_began.wait()
        return pace

    def _pace(self) -> float:
        """Seconds between two beats."""
        leases = self._attempts.kept().values()
        if not leases and not self._unknown:
            return max(self._presence.pace, IDLE)
        return min([self._presence.pace, *(lease / BEATS for lease in leases)])

    def _obey(self, beat: Beat) -> None:
        for lost in beat.lost:
            attempt = self._attempts.get((lost.ticket, lost.token))
            if attempt is not None and attempt.lost is None:
                # Not waited for: the others are to be kept, however long its end takes.
                dropping = asyncio.create_task(self._attempts.drop(attempt, lost.reason))
                self._dropping.add(dropping)
                dropping.add_done_callback(self._dropping.discard)
        now, seen = monotonic(), dict[Key, float]()
        for held in beat.held:
            key = held.ticket, held.token
            if key in self._attempts.kept():
                continue
            seen[key] = self._unknown.get(key, now)
            if now >= seen[key] + UNKNOWN:
                seen[key] = now  # it is told again, should it come to that
                self._attempts.hand_back(held.ticket, held.task, held.token, _UNHEARD)
        self._unknown = seen
