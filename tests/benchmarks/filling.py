"""A partition full of events, put there by its owner in large batches: nobody asks for anything."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from adapters.log import Owner, Received
from domain.event import Command
from domain.ticket import commands as c
from tests.benchmarks.tickets import CHANGES, TASK, WORKER, passed, subject, submit, task
from workers.compose import Service
from workers.partition import Partition

BATCH: Final = 500
"""Tickets of which the events are committed together."""

OPENING: Final = 2
"""Events of a one-task ticket that was only opened."""

CLAIM: Final = OPENING + 1
"""The version, and so the token, of its claim."""


def lives(first: int, count: int, open_of_ten: int) -> Iterator[tuple[int, bool]]:
    """The numbers of tickets, and of each whether it comes to its end."""
    return ((number, number % 10 >= open_of_ten) for number in range(first, first + count))


def events_of(count: int, open_of_ten: int) -> int:
    """How many events that makes."""
    return sum(CHANGES if ends else OPENING for _, ends in lives(0, count, open_of_ten))


async def fill(service: Service, first: int, count: int, open_of_ten: int) -> None:
    """Put one-task tickets into partition 0, which must be the only one."""
    async with service.log.join("filler") as membership:
        while 0 not in await membership.granted():
            pass
        owner = await membership.take(0)
        try:
            await _fill(service, owner, list(lives(first, count, open_of_ten)))
        finally:
            await owner.release()


async def _fill(service: Service, owner: Owner, tickets: list[tuple[int, bool]]) -> None:
    partition = Partition(0, 1, service.deciders, service.codec)
    async for page in owner.history(max(0, await service.log.end(0) - 1)):
        partition.begin_at(page[-1])
    await owner.resume(0)
    for start in range(0, len(tickets), BATCH):
        some = tickets[start : start + BATCH]
        now = datetime.now(UTC)
        batch = [
            Received(0, now, submit(f"ticket/{number}", command))
            for number, ends in some
            for command in _life(number, ends=ends)
        ]
        await owner.commit(partition.decide(batch, now))
        partition.streams.clear()


def _life(number: int, *, ends: bool) -> Iterator[Command]:
    yield c.Open(subject=subject(number), tasks=(task(TASK),))
    if ends:
        yield c.Claim(task=TASK, worker=WORKER, request=f"request-{number}")
        yield c.Start(task=TASK, token=CLAIM)
        yield passed(TASK, CLAIM)
