"""The order in which tasks wait: within a project by rank, and by the class of what they require.

The rank is a number that an index can hold, so the order is static: whoever is earlier in it now
stays so, until its priority changes. Nothing starves, since a priority is worth a time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

AGEING: Final = 60.0
"""Seconds of waiting that a step of priority is worth."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


AVOID: Final = 10.0
"""Seconds for which a task that a worker has just failed to run is left to other workers."""

UNLUCKY: Final = frozenset({"task_retried", "lease_lost", "claim_returned"})
"""The words of the events that make a task wait again because of the worker that had it."""


class Candidate(Struct, frozen=True):
    """A task at the head of the queue of its class and project.

    It waits `since` then, which is `waited` seconds, because of the event `created`; `worker` is
    the one that had it last.
    """

    ticket: str
    task: str
    project: str
    class_: str
    rank: float
    worker: str | None
    created: str
    since: datetime
    waited: float


def order(
    candidates: Iterable[Candidate], worker: str, alone: Collection[str]
) -> Sequence[Candidate]:
    """What the worker may be given, who is next first.

    What it has just failed to run is left to others, unless the worker is *alone* with the class:
    unless no other one is available that could serve it.
    """
    return sorted(
        (one for one in candidates if one.class_ in alone or not is_avoided(one, worker)),
        key=lambda one: (one.rank, one.ticket, one.task),
    )


def is_avoided(candidate: Candidate, worker: str) -> bool:
    """Whether the task is left to other workers for now."""
    return candidate.worker == worker and candidate.created in UNLUCKY and candidate.waited < AVOID


def rank(ready_at: datetime, priority: int, not_before: datetime | None = None) -> float:
    """The task's place, seconds: who has the lowest is next.

    What must not start before an instant waits from then on.
    """
    since = ready_at if not_before is None else max(ready_at, not_before)
    return since.timestamp() - priority * AGEING


def class_of(requires: Mapping[str, Sequence[str]]) -> str:
    """The id of a set of requirements: the same for the same set, in whatever order it is said."""
    return _class(tuple((what, tuple(requires[what])) for what in requires))


@lru_cache(maxsize=10_000)
def _class(requires: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    canonical = {what: sorted(set(values)) for what, values in requires if values}
    return blake2b(_encode(canonical), digest_size=8).hexdigest()
