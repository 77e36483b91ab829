"""Whether all is in the log: it is read from the beginning and folded, as an engine does."""

from collections.abc import AsyncIterator, Sequence
from time import perf_counter

from msgspec import Struct

from adapters.log import Log
from domain.envelope import Recorded
from domain.ticket.automata import TicketState
from workers.compose import Service
from workers.partition import Partition


class WrongLog(Exception):
    """The log does not hold what was acknowledged."""


class Folded(Struct, frozen=True):
    """What a log holds, and how many events a second it took to read and fold them."""

    events: int
    passed: int
    events_per_second: float


async def verified(service: Service, *, events: int, tickets: int) -> Folded:
    """Fold the log from zero: it must have *events*, and *tickets*, all of them passed."""
    folded = await _fold(service)
    if (folded.events, folded.passed) != (events, tickets):
        raise WrongLog(
            f"the log has {folded.events} events and {folded.passed} tickets that passed; "
            f"{events} and {tickets} were acknowledged"
        )
    return folded


async def _fold(service: Service) -> Folded:
    log = service.log
    passed = events = 0
    began = perf_counter()
    for number in range(log.partitions):
        partition = Partition(number, log.partitions, service.deciders, service.codec)
        async for page in pages(log, number):
            for recorded in page:
                partition.fold(recorded)
        events += partition.sequence
        passed += sum(s.state.state is TicketState.PASSED for s in partition.streams.values())
    return Folded(events, passed, events / (perf_counter() - began))


async def pages(log: Log, partition: int) -> AsyncIterator[Sequence[Recorded]]:
    """The events of a partition, up to its present end."""
    if end := await log.end(partition):
        async for page in log.follow(partition):
            yield page
            if page[-1].sequence >= end:
                return
