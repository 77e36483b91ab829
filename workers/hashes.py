"""A set of ids that keeps eight bytes of each: it never forgets one, and rarely mistakes another.

Open addressing in arrays. There are many small ones of them, so that none of those that have to
grow keeps anybody waiting: with a million ids that takes a few milliseconds each.
"""

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

SHARDS: Final = 256
"""A power of two: the lowest bits of a hash choose one."""

SMALLEST: Final = 8
"""Places in a shard, at first. Always a power of two."""

FULL: Final = 0.8
"""The part of a shard's places that may be taken before it doubles."""


def hash_of(id_: str) -> int:
    """Eight bytes of an id, the same in every process; never 0, which marks a free place."""
    return int.from_bytes(blake2b(id_.encode(), digest_size=8).digest(), "little") or 1


class Hashes:
    """`len()` is how many different hashes are in it."""

    def __init__(self) -> None:
        self._shards = [array("Q", bytes(8 * SMALLEST)) for _ in range(SHARDS)]
        self._taken = [0] * SHARDS

    def __len__(self) -> int:
        return sum(self._taken)

    @property
    def size(self) -> int:
        """Bytes of memory that they take."""
        return sum(len(shard) * shard.itemsize for shard in self._shards)

    def add(self, hash_: int) -> None:
        """Put it in, if it is not there."""
        number = hash_ % SHARDS
        shard = self._shards[number]
        place = _place(shard, hash_)
        if shard[place]:
            return
        shard[place] = hash_
        self._taken[number] += 1
        if self._taken[number] > FULL * len(shard):
            self._shards[number] = _doubled(shard)

    def __contains__(self, hash_: int) -> bool:
        shard = self._shards[hash_ % SHARDS]
        return shard[_place(shard, hash_)] == hash_

    def shards(self) -> Iterator[bytes]:
        """All of them in parts, as they are in memory, as long as nothing is added."""
        return (shard.tobytes() for shard in self._shards)

    def put(self, number: int, shard: bytes) -> None:
        """Have this instead of the part of this number. Raises ValueError if it cannot be one."""
        found = array("Q", shard)
        places = len(found)
        taken = places - found.count(0)
        if number >= SHARDS or places < SMALLEST or places & places - 1 or taken > FULL * places:
            raise ValueError(f"{places} places are no shard of hashes")
        self._shards[number], self._taken[number] = found, taken


def _place(shard: "array[int]", hash_: int) -> int:
    """Where the hash is, or would be."""
    mask = len(shard) - 1
    place = hash_ // SHARDS & mask
    while shard[place] not in (0, hash_):
        place = place + 1 & mask
    return place


def _doubled(shard: "array[int]") -> "array[int]":
    """The same in twice as many places."""
    larger = array("Q", bytes(2 * len(shard) * shard.itemsize))
    for hash_ in shard:
        if hash_:
            larger[_place(larger, hash_)] = hash_
    return larger
