"""The order in which tasks wait: within a project by rank, and by the class of what they require.

The rank is a number that an index can hold, so the order is static: whoever is earlier in it now
stays so, until its priority changes. Nothing starves, since a priority is worth a time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

AGEING: Final = 60.0
"""Seconds of waiting that a step of priority is worth."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def rank(ready_at: datetime, priority: int) -> float:
    """The task's place, seconds: who has the lowest is next."""
    return ready_at.timestamp() - priority * AGEING


def class_of(requires: Mapping[str, Sequence[str]]) -> str:
    """The id of a set of requirements: the same for the same set, in whatever order it is said."""
    return _class(tuple((what, tuple(requires[what])) for what in requires))


@lru_cache(maxsize=10_000)
def _class(requires: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    canonical = {what: sorted(set(values)) for what, values in requires if values}
    return blake2b(_encode(canonical), digest_size=8).hexdigest()
