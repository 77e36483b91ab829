"""What is broken, and when: from a deck of faults in which every role is struck often enough."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Sequence

from tests.chaos.crews import LEASE, Crews
from tests.chaos.processes import Processes
from tests.chaos.sites import Site

KILLS = 2
"""How often each role is killed at least."""

GAP = (0.1, 1.3)
"""Seconds between two faults."""

MISSED = 0.05
"""Seconds after which who was not there is sought again."""

SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "pause": signal.SIGSTOP}

Fault = tuple[str, str]
"""What is done, and to which role; or to the servers."""

SERVERS = "servers"


def deck(faults: Sequence[str], chance: random.Random) -> list[Fault]:
    """As many faults as make a round, in any order."""
    found = [
        (kind, role)
        for role in ("engine", "projector", "reactor", "reaper", "api")
        for kind in (*("kill",) * KILLS, "terminate", "pause")
    ]
    found += [("kill", "engine"), ("kill", "engine"), ("pause", "engine")]
    found += [(fault, SERVERS) for fault in faults]
    chance.shuffle(found)
    return found


class Breaking:
    """Breaks what it may, and counts."""

    def __init__(self, servers: Site, crews: Crews, chance: random.Random) -> None:
        self.faults: Counter[Fault] = Counter()
        self._servers = servers
        self._crews = crews
        self._chance = chance
        self._turn = asyncio.Lock()

    async def run(self, seconds: float) -> None:
        """For so long, but a whole deck at least."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        first = True
        async with asyncio.TaskGroup() as mending:
            while first or loop.time() < end:
                for kind, role in deck(self._servers.faults, self._chance):
                    if not first and loop.time() >= end:
                        break
                    await asyncio.sleep(self._chance.uniform(*GAP))
                    self.faults[kind, role] += 1
                    if role == SERVERS:
                        mending.create_task(self._strike(kind))
                    elif name := await self._hit(self._crews.roles[role], kind):
                        length = LEASE * self._chance.uniform(0.5, 2.5)
                        mending.create_task(self._go_on(self._crews.roles[role], name, length))
                first = False

    async def _strike(self, kind: str) -> None:
        async with self._turn:
            await self._servers.strike(kind, self._chance)

    async def _hit(self, crew: Processes, kind: str) -> str | None:
        """Hit one that is there, and kill one at its work; the name of who must be woken."""
        while True:
            name = crew.some(self._chance)
            may = kind != "kill" or crew.is_at_work(name)
            if may and crew.signal(name, SIGNALS[kind]):
                return name if kind == "pause" else None
            await asyncio.sleep(MISSED)

    async def _go_on(self, crew: Processes, name: str, length: float) -> None:
        await asyncio.sleep(length)
        crew.signal(name, signal.SIGCONT)

    def told(self) -> str:
        """What was done to whom, for people."""
        roles = {role for _, role in self.faults}
        return "; ".join(
            f"{role}: "
            + ", ".join(
                f"{kind} {n}" for (kind, of), n in sorted(self.faults.items()) if of == role
            )
            for role in sorted(roles)
        )
