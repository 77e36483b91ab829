"""Closed streams: which of them may leave memory, and a hash of each that has left.

A stream that has come to rest waits for the archive to have its last event. What has left is known
by eight bytes, so that an id which nobody has used yet costs no look into the archive.
"""

from collections import deque
from typing import Final

from domain.stream import Stream
from workers.hashes import Hashes, hash_of

STEP: Final = 10_000
"""Streams that are looked at together, at most: some milliseconds."""


class Closed:
    """The closed streams of one partition.

    `evicted` is the highest sequence of an event whose stream has left memory: an archive that is
    not there yet does not have all that is needed. While they are `staying` nothing leaves.
    """

    def __init__(self) -> None:
        self.hashes = Hashes()
        self.evicted = 0
        self.staying = False
        self._waiting: deque[tuple[int, str, int]] = deque()

    def note(self, stream: Stream, sequence: int) -> None:
        """The stream is at rest behind its event of this sequence."""
        self._waiting.append((sequence, stream.id, stream.version))

    def may_have_left(self, id_: str) -> bool:
        """Whether a stream of this id, which is not in memory, has to be looked for."""
        return self.evicted > 0 and hash_of(id_) in self.hashes

    def leave(self, streams: dict[str, Stream], archived: int) -> None:
        """Take from *streams* those that the archive, which has come so far, can give back."""
        waiting, looks = self._waiting, STEP
        while waiting and looks and waiting[0][0] <= archived and not self.staying:
            sequence, id_, version = waiting.popleft()
            looks -= 1
            stream = streams.get(id_)
            if stream is not None and stream.version == version:  # nothing has happened since
                del streams[id_]
                self.hashes.add(hash_of(id_))
                self.evicted = max(self.evicted, sequence)
