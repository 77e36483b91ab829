"""A partition is taken over: its state from a snapshot, if one is to be trusted, and the log.

A snapshot is trusted only if it is complete and undamaged, its states have the form of this
process's, and the log has the events at which it began and ended. Else it is ignored, with one
line that says why, and the whole log is folded.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from adapters.log import Gap, Owner, Unavailable, WrongLog
from adapters.snapshots import Complete, Damaged, Snapshots
from domain.envelope import Recorded
from domain.stream import VersionGap
from workers.archived import Archived
from workers.partition import Partition
from workers.snapshot_form import Form

log = structlog.get_logger()


class Ignored(Exception):
    """A snapshot is not to be trusted; says why."""


class Recovery:
    """One takeover. `since` is where the snapshot began that was used, 0 without one."""

    def __init__(
        self,
        owner: Owner,
        empty: Callable[[], Partition],
        form: Form,
        archived: Archived,
        moved: Callable[[], None],
    ) -> None:
        self.since = 0
        self._until = 0
        self._owner = owner
        self._empty = empty
        self._form = form
        self._archived = archived
        self._moved = moved

    async def run(self, snapshots: Snapshots | None) -> Partition:
        """The state of the partition, as it is in the log."""
        await self._archived.look()
        try:
            partition = await self._from_snapshot(snapshots)
        except (Ignored, Damaged, VersionGap, Gap) as error:
            log.warning("snapshot_ignored", partition=self._owner.partition, reason=str(error))
            partition = None
        if partition is None:
            self._until = 0
            partition = await self._from_log()
        return partition

    def check(self, partition: Partition) -> None:
        """Refuse an archive with another history: WrongLog. The owner has not been fenced."""
        if (position := self._archived.position) > partition.sequence:
            raise WrongLog(
                f"the archive has partition {partition.number} up to {position}, and the log ends "
                f"with {partition.sequence}: was the log restored from a backup? "
                "`turnstile rebuild history` folds the archive anew"
            )

    async def _from_log(self) -> Partition:
        partition = self._empty()
        async for page in self._owner.history():
            await self._fold(partition, page)
        return partition

    async def _from_snapshot(self, snapshots: Snapshots | None) -> Partition | None:
        found = await self._latest(snapshots)
        if snapshots is None or found is None:
            return None
        partition, begun = self._empty(), False
        async for page in self._owner.history(found.beginning.sequence - 1):
            if not begun:
                self._check(page[0], found.beginning.sequence, found.beginning.event)
                await self._load(partition, snapshots, found, page[0])
                begun, page = True, page[1:]
            last = found.end.sequence
            if page and page[0].sequence <= last <= page[-1].sequence:
                self._check(page[last - page[0].sequence], last, found.end.event)
            await self._fold(partition, page)
        if partition.sequence < found.end.sequence:
            raise Ignored(f"it goes up to {found.end.sequence}, and the log has another end")
        self.since = found.beginning.sequence
        return partition

    async def _latest(self, snapshots: Snapshots | None) -> Complete | None:
        if snapshots is None:
            return None
        try:
            found = await snapshots.latest(self._owner.partition)
        except Unavailable as error:
            raise Ignored(str(error)) from error
        if found is not None:
            if found.beginning.log != self._owner.genesis.id:
                raise Ignored("it is of another log")
            if found.beginning.form != self._form.digest:
                raise Ignored("its states have another form than this version's")
            if found.end.evicted > self._archived.position:
                raise Ignored(
                    f"it needs the archive up to {found.end.evicted}, "
                    f"which has {self._archived.position}"
                )
        return found

    def _check(self, recorded: Recorded, sequence: int, event: object) -> None:
        if (recorded.sequence, recorded.id) != (sequence, event):
            raise Ignored(f"the log has another event {sequence}")

    async def _load(
        self, partition: Partition, snapshots: Snapshots, found: Complete, first: Recorded
    ) -> None:
        memory, until = partition.memory, found.end.sequence
        try:
            async for part in snapshots.parts(found):
                for stream in self._form.streams(part, memory.closed.hashes):
                    memory.adopt(stream, until)
                self._moved()
                await asyncio.sleep(0)
        except Unavailable as error:
            raise Ignored(str(error)) from error
        partition.begin_at(first)
        memory.closed.evicted = found.end.evicted
        self._until = until
        await self._again(partition, found.end.quarantined)

    async def _again(self, partition: Partition, quarantined: Sequence[str]) -> None:
        """Fold these from their first event on, as whoever folds the whole log does."""
        if not quarantined:
            return
        if self._archived.position < partition.sequence:
            raise Ignored(f"the archive is behind {partition.sequence}, and has to give streams")
        await self._archived.bring_back(partition, quarantined)

    async def _fold(self, partition: Partition, page: Sequence[Recorded]) -> None:
        await self._archived.bring_back(partition, partition.lacking(page))
        for recorded in page:
            partition.fold(recorded)
        # What a snapshot has of a stream is needed until all of its events have been passed.
        partition.memory.closed.staying = partition.sequence < self._until
        partition.memory.evict(self._archived.position)
        self._moved()
        await asyncio.sleep(0)
