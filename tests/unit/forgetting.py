"""A partition that never forgets, one that does, and what the latter has beside it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from random import Random
from uuid import UUID

import msgspec

from adapters.codec import Codec
from adapters.log import Decided, Genesis, Received
from adapters.snapshots import Beginning, Complete, End
from domain.envelope import Recorded, Submitted
from domain.kinds import DECIDERS
from domain.ticket import commands as c
from tests.unit.given import Given
from tests.unit.walks import play, take, walk_at_random
from workers.archived import Archived
from workers.partition import Partition
from workers.recovery import Recovery
from workers.snapshot_form import Form
from workers.snapshotting import Snapshotting

CODEC = Codec(DECIDERS)
FORM = Form(DECIDERS)
GENESIS = Genesis(format=1, partitions=1, id=UUID(int=7))


def fresh() -> Partition:
    return Partition(0, 1, DECIDERS, CODEC)


def lives(chance: Random, tickets: int) -> list[tuple[Submitted, datetime]]:
    """What is asked of some tickets, mixed: their whole lives, reruns, and a third of it twice."""
    lived = [_life(chance, f"ticket/{n}") for n in range(tickets)]
    mixed: list[tuple[Submitted, datetime]] = []
    while any(lived):
        life = chance.choice([each for each in lived if each])
        mixed.append(life.pop(0))
        if chance.random() < 0.3:
            mixed.append(chance.choice(mixed))
    return mixed


def _life(chance: Random, stream: str) -> list[tuple[Submitted, datetime]]:
    ticket, life = Given(), list[tuple[Submitted, datetime]]()
    for ticket, submitted in play(walk_at_random(chance.randint, chance.randint(0, 40))):
        take(ticket, submitted)
        life.append((submitted, ticket.now))
    for command in (c.Cancel(), c.Cancel(), c.Rerun(), c.Cancel()):
        submitted = ticket.submit(command)
        take(ticket, submitted)
        life.append((submitted, ticket.now))
    return [(msgspec.structs.replace(one, stream=stream, reply_to="me"), at) for one, at in life]


class Beside:
    """The log, an archive of it that is behind, and snapshots, as lists."""

    def __init__(self, chance: Random) -> None:
        self.partition = 0
        self.genesis = GENESIS
        self.events: list[Recorded] = []
        self.archived = 0
        self.snapshots: dict[int, tuple[Beginning, End | None, list[bytes]]] = {}
        self._chance = chance

    async def history(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        while page := self.events[after : after + self._chance.randint(1, 30)]:
            yield page
            after = page[-1].sequence

    async def position(self, partition: int) -> int:
        return self.archived

    async def of_streams(
        self, streams: Sequence[str], until: int
    ) -> AsyncIterator[Sequence[Recorded]]:
        behind = min(until, self.archived)
        found = [event for event in self.events[:behind] if event.originator_id in streams]
        found.sort(key=lambda event: (event.originator_id, event.originator_version))
        for start in range(0, len(found), 3):
            yield found[start : start + 3]

    async def begin(self, beginning: Beginning) -> int:
        self.snapshots[len(self.snapshots) + 1] = (beginning, None, [])
        return len(self.snapshots)

    async def add(self, snapshot: int, n: int, data: bytes) -> None:
        self.snapshots[snapshot][2].append(data)

    async def finish(self, snapshot: int, end: End) -> None:
        beginning, _, parts = self.snapshots[snapshot]
        self.snapshots[snapshot] = beginning, end, parts

    async def latest(self, partition: int) -> Complete | None:
        complete = [
            Complete(number, beginning, end)
            for number, (beginning, end, _) in self.snapshots.items()
            if end is not None
        ]
        return complete[-1] if complete else None

    async def parts(self, snapshot: Complete) -> AsyncIterator[bytes]:
        for part in self.snapshots[snapshot.id][2]:
            yield part


class Forgetful:
    """A partition as an engine has it: streams leave and come back, and it crashes."""

    def __init__(self, beside: Beside, every: int) -> None:
        self.beside = beside
        self.every = every
        self.recovered_from = 0
        self.partition = fresh()

    async def crash(self) -> None:
        """What was in memory is gone; it is taken over anew."""
        self.archived = Archived(self.beside, 0, lambda: None)
        recovery = Recovery(self.beside, fresh, FORM, self.archived, lambda: None)  # type: ignore[arg-type]
        self.partition = await recovery.run(self.beside)
        recovery.check(self.partition)
        self.recovered_from = recovery.since
        self.snapshotting = Snapshotting(
            self.beside, self.every, FORM.digest, GENESIS, self.partition, recovery.since
        )

    async def decide(self, batch: Sequence[Received], now: datetime) -> Decided:
        """As an engine does it: what is missing comes back, and what is at rest may leave."""
        await self.archived.bring_back(self.partition, self.partition.missing(batch))
        decided = self.partition.decide(batch, now)
        self.beside.events += [one.recorded for one in decided.events]
        return decided

    async def rest(self) -> None:
        """Between two batches."""
        await self.archived.look()
        self.partition.memory.evict(self.archived.position)
        self.snapshotting.step()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
