"""What the domain alone costs, in this process: `domain.stream.Stream` and nothing else."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import mean
from time import process_time
from typing import Final

from msgspec import Struct

from domain.envelope import Recorded, Submitted
from domain.stream import Stream
from domain.ticket import TICKETS
from domain.ticket import commands as c
from tests.benchmarks.tickets import WORKER, growing, passed, submit

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIZES: Final = (10, 100, 1_000, 10_000)
PORTION: Final = 500
"""Tasks at the beginning and at the end of the largest ticket that are compared."""

ROUNDS: Final = 3
"""Of each measurement; the best counts, since whatever disturbs it makes it worse."""


class Cost(Struct, frozen=True):
    """Microseconds for one event of a task: decided, made a fact of, and folded.

    `by_size`: by the number of the ticket's tasks. `first` and `last`: of the largest ticket.
    """

    by_size: dict[int, float]
    first: float
    last: float
    folds_per_second: float


def cost() -> Cost:
    """What an event costs in tickets of any size."""
    by_size = {
        size: min(
            mean(_Life(size).attempt(0, size) for _ in range(SIZES[-1] // size))
            for _ in range(ROUNDS)
        )
        for size in SIZES
    }
    first, last, folds = zip(*(_first_and_last() for _ in range(ROUNDS)), strict=True)
    return Cost(by_size, min(first), min(last), max(folds))


def _first_and_last() -> tuple[float, float, float]:
    life = _Life(SIZES[-1])
    first = life.attempt(0, PORTION)
    life.attempt(PORTION, SIZES[-1] - PORTION)
    last = life.attempt(SIZES[-1] - PORTION, SIZES[-1])
    return first, last, _folds_per_second(life.history)


class _Life:
    """A ticket and what happens to it."""

    def __init__(self, tasks: int) -> None:
        self.history: list[Recorded] = []
        self._names = [f"task-{n}" for n in range(tasks)]
        self._stream = Stream("ticket/1", TICKETS.initial())
        for command in growing(1, tasks):
            self._take(submit(self._stream.id, command))

    def attempt(self, first: int, behind: int) -> float:
        """Let these tasks run and pass, one after another; microseconds for an event."""
        commands = tuple(self._attempts(self._names[first:behind]))
        version = self._stream.version
        began = process_time()
        for command in commands:
            self._take(command)
        return (process_time() - began) * 1e6 / (self._stream.version - version)

    def _attempts(self, names: Sequence[str]) -> Iterator[Submitted]:
        token = self._stream.version + 1  # that of the first claim; each has three events
        for name in names:
            yield submit(self._stream.id, c.Claim(task=name, worker=WORKER, request=name))
            yield submit(self._stream.id, c.Start(task=name, token=token))
            yield submit(self._stream.id, passed(name, token))
            token += 3

    def _take(self, command: Submitted) -> None:
        events = self._stream.decide(TICKETS, command, NOON, NOON)
        facts = self._stream.record(events, command, NOON)
        for fact in facts:
            self._stream.fold(TICKETS, fact)
        self.history += facts


def _folds_per_second(history: Sequence[Recorded]) -> float:
    stream = Stream("ticket/1", TICKETS.initial())
    began = process_time()
    for recorded in history:
        stream.fold(TICKETS, recorded)
    return len(history) / (process_time() - began)
