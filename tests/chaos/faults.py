"""Faults of a service and its runners, from a deck in which every one of them comes."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from tests.chaos.crews import RUNNER, Crews
from tests.chaos.progress import until
from tests.chaos.workflows import LEASE

EVERYTHING = "everything"
PAUSE = "pause"

KINDS = ("engine", "projector", "api", "reaper", RUNNER, EVERYTHING, PAUSE)
"""A role of which all are killed, but runners one at a time; or a runner that is stopped."""

PAUSED = (1.5, 2.5)
"""Lengths of a lease for which a runner is stopped."""


class Faults:
    """Strikes as often as it is told to, and counts."""

    def __init__(self, crews: Crews, chance: random.Random, count: int) -> None:
        self.struck: Counter[str] = Counter()
        self._crews = crews
        self._chance = chance
        self._count = count

    def deck(self) -> list[str]:
        """As many faults as there are to be, in any order; each kind as often as another."""
        found: list[str] = []
        while len(found) < self._count:
            kinds = list(KINDS)
            self._chance.shuffle(kinds)
            found += kinds
        return found[: self._count]

    async def run(self, next_one: Callable[[int], Awaitable[None]]) -> None:
        """Strike once behind each *next_one*."""
        for n, kind in enumerate(self.deck()):
            await next_one(n)
            self.struck[kind] += 1
            print(f"  {datetime.now(UTC):%H:%M:%S.%f} {kind}")
            if kind == PAUSE:
                await self._pause()
            else:
                await self._kill(kind)

    async def _kill(self, kind: str) -> None:
        """Kill who is at work; a supervisor starts them again."""
        struck = [
            (self._crews.roles[role], name)
            for role in (self._crews.roles if kind == EVERYTHING else [kind])
            for name in self._names(role, all_of_them=kind == EVERYTHING)
        ]
        await until(lambda: all(crew.is_at_work(name) for crew, name in struck), lambda: kind)
        for crew, name in struck:
            crew.signal(name, signal.SIGKILL)

    def _names(self, role: str, *, all_of_them: bool) -> Sequence[str]:
        crew = self._crews.roles[role]
        return [crew.some(self._chance)] if role == RUNNER and not all_of_them else crew.names

    async def _pause(self) -> None:
        """Stop a runner, but not what it runs, for longer than a lease."""
        crew = self._crews.roles[RUNNER]
        name = crew.some(self._chance)
        crew.signal(name, signal.SIGSTOP)
        await asyncio.sleep(LEASE * self._chance.uniform(*PAUSED))
        crew.signal(name, signal.SIGCONT)

    def told(self) -> str:
        """What was done, for people."""
        return ", ".join(f"{kind} {count}" for kind, count in sorted(self.struck.items()))
