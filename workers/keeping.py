"""What an engine does for a partition beside deciding: its memory stays small, and is written down.

recovery.py       its state, from a snapshot and the log
archived.py       what has left memory comes back
snapshotting.py   its state is written down, a step at a time
"""

from collections.abc import Iterable
from typing import Final

from adapters.log import Genesis, Received
from workers.archived import Archived
from workers.memory import Memory
from workers.partition import Partition
from workers.snapshot_form import Form
from workers.snapshotting import Snapshotting

SOON: Final = 0.01
"""Seconds to wait for commands while a snapshot is under way and nothing else happens."""


class Keeping:
    """The memory of one partition, as long as it is served.

    `since` is the sequence at which the snapshot was begun that it was recovered from.
    """

    def __init__(
        self,
        memory: Memory,
        form: Form,
        genesis: Genesis,
        partition: Partition,
        archived: Archived,
        since: int,
    ) -> None:
        self._partition = partition
        self._archived = archived
        self._snapshotting = Snapshotting(
            memory.snapshots, memory.every, form.digest, genesis, partition, since
        )

    async def __aenter__(self) -> "Keeping":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._archived.close()
        await self._snapshotting.close()

    def patience(self, idle: float) -> float:
        """How long to wait for commands, *idle* at most."""
        return SOON if self._snapshotting.is_under_way else idle

    async def bring_back(self, batch: Iterable[Received]) -> None:
        """Have all streams in memory that the batch is about."""
        await self._archived.bring_back(self._partition, self._partition.missing(batch))

    def step(self) -> None:
        """Between two batches: let go what may leave, write the next part down."""
        self._archived.look_again()
        self._partition.memory.evict(self._archived.position)
        self._snapshotting.step()
