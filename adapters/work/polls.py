"""Requests that wait for tasks, and how what there is is dealt out among them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from adapters.postgres.claims import Reservation
from domain.workflow import Requirements, lacking
from projections.queue import AVOID, UNLUCKY, Candidate, is_avoided, order
from projections.workers import Worker

Still = Callable[[], Awaitable[Any]]
"""Who has asked may still ask. Raises what it is refused with, if not."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


async def _always() -> None:
    pass


class Poll:
    """A request that waits for at most so many tasks, `until` then by the loop's clock.

    They are `only` such as require something of each of these. Those of the same `kind` can be
    given the same tasks. It gets its `turn` as reservations, none if its time is over, and is
    given them only if who has asked may `still` do so.
    """

    def __init__(
        self,
        worker: Worker,
        request: str,
        tasks: int,
        until: float,
        only: Sequence[str] = (),
        still: Still = _always,
    ) -> None:
        self.worker = worker
        self.request = request
        self.tasks = tasks
        self.until = until
        self.only = only
        self.still = still
        self.kind = _encode((worker.capabilities, sorted(only)))
        self.turn: asyncio.Future[Sequence[Reservation]] = (
            asyncio.get_running_loop().create_future()
        )

    def can_serve(self, requires: Requirements) -> bool:
        """Whether it may be given tasks that require this."""
        return all(requires.get(what) for what in self.only) and (
            lacking(self.worker.capabilities, requires) is None
        )

    def give(self, reserved: Sequence[Reservation]) -> bool:
        """It is its turn. Whether it was still waiting for it."""
        if self.turn.done():
            return False
        self.turn.set_result(reserved)
        return True

    def refuse(self, error: Exception) -> None:
        """Its turn never comes."""
        if not self.turn.done():
            self.turn.set_exception(error)


def deal(
    candidates: Sequence[Candidate],
    polls: Sequence[Poll],
    alone: Mapping[str, Collection[str]],
) -> Iterator[tuple[Poll, Candidate]]:
    """Who gets what: one after another in the order of *polls*, until nobody gets any more.

    *alone* says of a worker, by name, with which classes it is alone.
    """
    taken: set[tuple[str, str]] = set()
    hands = [(poll, _hand(candidates, poll, alone, taken)) for poll in polls]
    got = dict.fromkeys(polls, 0)
    while hands and len(taken) < len(candidates):
        staying = []
        for poll, hand in hands:
            if (one := next(hand, None)) is not None:
                taken.add((one.ticket, one.task))
                got[poll] += 1
                yield poll, one
                if got[poll] < poll.tasks:
                    staying.append((poll, hand))
        hands = staying


def _hand(
    candidates: Sequence[Candidate],
    poll: Poll,
    alone: Mapping[str, Collection[str]],
    taken: Collection[tuple[str, str]],
) -> Iterator[Candidate]:
    """What this one may get, as long as nobody else has got it; put in order when it is asked."""
    name = poll.worker.worker
    for one in order(candidates, name, alone.get(name, ())):
        if (one.ticket, one.task) not in taken:
            yield one


def avoided(candidates: Sequence[Candidate], polls: Sequence[Poll]) -> Mapping[str, set[str]]:
    """The classes of what some workers are to leave to others, by worker."""
    recent = [one for one in candidates if one.created in UNLUCKY and one.waited < AVOID]
    found: dict[str, set[str]] = {}
    for one in recent:
        for poll in polls:
            if is_avoided(one, poll.worker.worker):
                found.setdefault(poll.worker.worker, set()).add(one.class_)
    return found


def alone_with(
    classes: Mapping[str, Requirements], workers: Sequence[Worker], own: Mapping[str, set[str]]
) -> Mapping[str, set[str]]:
    """Of the classes of each worker in *own* those that no other of the *workers* can serve."""
    able = {
        name: {one.worker for one in workers if lacking(one.capabilities, classes[name]) is None}
        for name in {name for names in own.values() for name in names}
    }
    return {
        worker: {name for name in names if not able[name] - {worker}}
        for worker, names in own.items()
    }
