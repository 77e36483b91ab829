"""What an engine has beside the log, so that its memory and its takeovers stay small."""

from msgspec import Struct

from adapters.archive import Archive
from adapters.snapshots import Snapshots


class Memory(Struct, frozen=True):
    """Without an archive nothing leaves memory; without snapshots a takeover folds all events.

    A snapshot of a partition is taken after every so many events, never where `every` is 0.
    """

    archive: Archive | None = None
    snapshots: Snapshots | None = None
    every: int = 200_000
