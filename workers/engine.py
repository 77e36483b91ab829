"""The engine: owns partitions, decides what is asked of them in batches, commits, answers.

It knows deciders, not tickets, and a log, not PostgreSQL or Kafka. Any number of engines share
the partitions of a log; which ones this one serves, the log's membership says.
"""

import asyncio
import gc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from logging import DEBUG
from time import monotonic

import structlog
from msgspec import Struct

from adapters.codec import Codec
from adapters.log import (
    ClockAhead,
    Decided,
    Fenced,
    Log,
    Membership,
    Owner,
    Received,
    Rejected,
    Unavailable,
)
from domain.decider import Deciders
from workers.archived import Archived
from workers.keeping import Keeping
from workers.memory import Memory
from workers.partition import Partition
from workers.recovery import Recovery
from workers.serving import Serving, serve
from workers.snapshot_form import Form
from workers.watchdog import Watchdog

log = structlog.get_logger()


class Pace(Struct, frozen=True):
    """How an engine batches: at most `batch` commands at once.

    It lingers `linger` seconds for more when more than one waits, and looks up every `idle`
    seconds when none does.
    """

    batch: int = 2_000
    linger: float = 0.010
    idle: float = 1.0


class Engine:
    """Serves the partitions that it is granted, until it is stopped."""

    def __init__(
        self,
        name: str,
        log: Log,
        deciders: Deciders,
        codec: Codec,
        *,
        pace: Pace | None = None,
        watchdog: Watchdog | None = None,
        memory: Memory | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.partitions: dict[int, Partition] = {}
        """What is served now."""
        self._log = log
        self._deciders = deciders
        self._codec = codec
        self._pace = pace or Pace()
        self._watchdog = watchdog or Watchdog(None)
        self._memory = memory or Memory()
        self._form = Form(deciders)
        self._clock = clock
        self._careful: dict[int, int] = {}
        self._hopeless: dict[int, tuple[int, str]] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the batches under way, give the partitions back, and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped.

        Raises what makes it wrong to go on: FutureEvent and CodecError (this process is older
        than the log), Gap and VersionGap (the log is damaged).
        """
        gc.set_threshold(100_000, 50, 1_000)  # states are many, live long and are no garbage
        async with self._log.join(self.name) as membership:
            await serve(membership, partial(self._serve, membership), self._stopping)

    async def _serve(self, membership: Membership, number: int, serving: Serving) -> None:
        """Take a partition over and serve it, until told to end or another has it."""
        name = f"partition {number}"
        moved = partial(self._watchdog.moved, name)
        moved()
        owner: Owner | None = None
        try:
            owner = await membership.take(number)
            async with await self._recover(owner, moved) as keeping:
                while not serving.stopping:
                    batch = await self._batch(owner, keeping.patience(self._pace.idle))
                    if batch:
                        await keeping.bring_back(batch)
                        # Between a decision and its commit it is not to be disturbed.
                        serving.may_be_cancelled = False
                        await self._decide(owner, self.partitions[number], batch)
                        serving.may_be_cancelled = True
                    keeping.step()
                    moved()
        except (Fenced, Unavailable, ClockAhead, Rejected) as error:
            # What was decided last may be no truth: the state goes with the partition.
            self.partitions.pop(number, None)
            log.warning("lost", partition=number, why=type(error).__name__, reason=str(error))
        finally:
            served = self.partitions.pop(number, None)
            self._watchdog.forget(name)
            if owner is not None:
                await owner.release()
                self._released(number, served)

    def _released(self, number: int, partition: Partition | None) -> None:
        state: dict[str, object] = {"sequence": partition.sequence} if partition else {}
        if partition and log.is_enabled_for(DEBUG):
            state |= {"digest": partition.digest()}
        log.info("released", partition=number, **state)

    async def _recover(self, owner: Owner, moved: Callable[[], None]) -> Keeping:
        """Have the partition's state, from a snapshot and its events, and keep it from now on."""
        began = monotonic()
        archived = Archived(self._memory.archive, owner.partition, moved)
        recovery = Recovery(owner, partial(self._empty, owner), self._form, archived, moved)
        partition = await recovery.run(self._memory.snapshots)
        position = await owner.resume(partition.upto)
        recovery.check(partition)
        gc.freeze()
        self.partitions[owner.partition] = partition
        log.info(
            "taken_over",
            partition=owner.partition,
            sequence=partition.sequence,
            snapshot=recovery.since,
            position=position,
            streams=len(partition.streams),
            closed=len(partition.memory.closed.hashes),
            quarantined=len(partition.quarantined),
            seconds=round(monotonic() - began, 3),
        )
        return Keeping(self._memory, self._form, owner.genesis, partition, archived, recovery.since)

    def _empty(self, owner: Owner) -> Partition:
        return Partition(owner.partition, owner.genesis.partitions, self._deciders, self._codec)

    async def _batch(self, owner: Owner, idle: float) -> list[Received]:
        """What waits; with more than one command at hand, also what comes within the linger."""
        pace = self._pace
        if owner.partition in self._careful:
            return list(await owner.receive(1, idle))
        batch = list(await owner.receive(pace.batch, idle))
        if 1 < len(batch) < pace.batch:
            await asyncio.sleep(pace.linger)
            batch += await owner.receive(pace.batch - len(batch), 0)
        return batch

    async def _decide(self, owner: Owner, partition: Partition, batch: list[Received]) -> None:
        began = monotonic()
        decided = partition.decide(self._fit(owner.partition, batch), self._clock())
        thought = monotonic()
        try:
            await owner.commit(decided)
        except Rejected as rejected:
            self._isolate(owner.partition, batch, rejected)
            raise
        self._calm(owner.partition, decided.upto)
        done = monotonic()
        log.info(
            "batch",
            partition=owner.partition,
            commands=len(batch),
            events=len(decided.events),
            dead=len(decided.dead),
            upto=decided.upto,
            sequence=partition.sequence,
            decide_ms=round((thought - began) * 1e3, 2),
            commit_ms=round((done - thought) * 1e3, 2),
        )
        if log.is_enabled_for(DEBUG):
            _tell(decided)

    def _isolate(self, number: int, batch: list[Received], rejected: Rejected) -> None:
        """Find the command at fault: go through the batch again one by one, put that one aside."""
        if len(batch) > 1:
            self._careful[number] = batch[-1].position
        else:
            self._hopeless[number] = batch[0].position, f"the log rejects it: {rejected}"

    def _fit(self, number: int, batch: list[Received]) -> list[Received]:
        """The batch, less what the log has rejected."""
        if number not in self._hopeless:
            return batch
        position, reason = self._hopeless[number]
        return [one.unfit(reason) if one.position == position else one for one in batch]

    def _calm(self, number: int, upto: int) -> None:
        """What was decided up to here was committed."""
        if self._careful.get(number, upto) <= upto:
            self._careful.pop(number, None)
        if number in self._hopeless and self._hopeless[number][0] <= upto:
            del self._hopeless[number]


def _tell(decided: Decided) -> None:
    """A line for each event and refusal of a batch."""
    for one in decided.events:
        fact = one.recorded
        log.debug(
            "recorded",
            stream=fact.originator_id,
            version=fact.originator_version,
            topic=fact.event.topic,
            event_id=str(fact.id),
            command_id=str(fact.causationid),
            actor=fact.actor,
            sequence=fact.sequence,
        )
    for reply in decided.replies:
        if refusal := reply.answer.refusal:
            log.debug("refused", command_id=str(reply.answer.command_id), type=refusal.type)
