"""Snapshots of a partition, written a step at a time while it is served.

A step encodes a few streams between two batches; the database has them while the next batch is
decided. Streams go on changing meanwhile: each is written as it is at its step, and whoever folds
the events behind the beginning again leaves out what a stream has already. No stream leaves memory
until the end: whoever folds those events would have to look for it in the archive.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

import structlog

from adapters.log import Genesis, Unavailable
from adapters.snapshots import Beginning, End, Snapshots
from domain.stream import Stream
from workers.partition import Partition
from workers.snapshot_form import hashes_parts, streams_part

log = structlog.get_logger()


class Snapshotting:
    """Snapshots of one partition, one after every so many events; none where that is 0."""

    def __init__(
        self,
        snapshots: Snapshots | None,
        every: int,
        form: bytes,
        genesis: Genesis,
        partition: Partition,
        since: int,
    ) -> None:
        self._snapshots = snapshots if every else None
        self._every = every
        self._form = form
        self._genesis = genesis
        self._partition = partition
        self._since = since
        self._writing: asyncio.Task[None] | None = None
        self._parts: Iterator[bytes] | None = None
        self._count = 0
        self._number = 0
        self._began = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether the next step is to come soon."""
        return self._writing is not None

    def step(self) -> None:
        """Go on, if the step before is over. All that the partition has folded is committed."""
        if self._snapshots is None:
            return
        if self._writing is None:
            if self._partition.sequence >= self._since + self._every:
                self._begin(self._snapshots)
        elif self._writing.done():
            try:
                self._writing.result()
                self._go_on(self._snapshots)
            except Unavailable as error:
                log.warning(
                    "snapshot_abandoned", partition=self._partition.number, reason=str(error)
                )
                self._end()

    def _begin(self, snapshots: Snapshots) -> None:
        partition = self._partition
        assert partition.event is not None
        partition.memory.closed.staying = True
        self._since = partition.sequence
        self._began = monotonic()
        self._count = 0
        self._parts = _parts(partition)
        beginning = Beginning(
            partition=partition.number,
            log=self._genesis.id,
            form=self._form,
            sequence=partition.sequence,
            event=partition.event,
        )
        self._writing = asyncio.create_task(self._start(snapshots, beginning))

    async def _start(self, snapshots: Snapshots, beginning: Beginning) -> None:
        self._number = await snapshots.begin(beginning)

    def _go_on(self, snapshots: Snapshots) -> None:
        if self._parts is None:
            self._end()
        elif part := next(self._parts, None):
            self._writing = asyncio.create_task(self._add(snapshots, part))
        else:
            self._parts = None
            self._writing = asyncio.create_task(self._finish(snapshots, self._ending()))

    async def _add(self, snapshots: Snapshots, part: bytes) -> None:
        await snapshots.add(self._number, self._count, part)
        self._count += 1

    def _ending(self) -> End:
        partition = self._partition
        assert partition.event is not None
        return End(
            sequence=partition.sequence,
            event=partition.event,
            evicted=partition.memory.closed.evicted,
            quarantined=list(partition.quarantined),
            parts=self._count,
        )

    async def _finish(self, snapshots: Snapshots, end: End) -> None:
        await snapshots.finish(self._number, end)
        log.info(
            "snapshot",
            partition=self._partition.number,
            sequence=self._since,
            until=end.sequence,
            parts=end.parts,
            seconds=round(monotonic() - self._began, 3),
        )

    def _end(self) -> None:
        self._partition.memory.closed.staying = False
        self._parts = None
        self._writing = None

    async def close(self) -> None:
        """Abandon what is under way: whoever has the partition next would wait for it."""
        if self._writing is not None:
            self._writing.cancel()
            with suppress(asyncio.CancelledError, Unavailable):
                await self._writing
            self._end()


def _parts(partition: Partition) -> Iterator[bytes]:
    streams = _held(partition, list(partition.streams))
    while part := streams_part(streams):
        yield part
    yield from hashes_parts(partition.memory.closed.hashes)


def _held(partition: Partition, ids: list[str]) -> Iterator[Stream]:
    """What of these is in memory still, and not in quarantine, when its turn comes."""
    for id_ in ids:
        stream = partition.streams.get(id_)
        if stream is not None:
            yield stream
