"""What is asked for: tickets and the commands that take them through their lives."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random
from time import perf_counter
from typing import Final
from uuid import UUID

import msgspec

from adapters import client
from adapters.asking import Asker
from adapters.codec import DATA_LIMIT
from domain.envelope import Answer, Submitted, partition_of
from domain.event import Command
from domain.ticket import commands as c
from domain.ticket.words import Outcome
from domain.workflow import Run, Subject, TaskSpec

WORKER: Final = "worker-1"
TASK: Final = "unit"
CHANGES: Final = 6
"""State changes of a one-task ticket: opened, ready, claimed, started, passed, closed."""

_ids: Final = Random(1)


Seen = Callable[[int, int], Awaitable[None]]
"""Waits until the views have a sequence of a partition."""


class NotAccepted(Exception):
    """A command was refused that should have been accepted."""


class Driver:
    """Asks, and notes how long each answer took; `changes` counts the events answered for."""

    def __init__(self, asker: Asker) -> None:
        self.changes = 0
        self.finished = 0
        self.latencies: list[float] = []
        self.visible: list[float] = []
        self._asker = asker

    async def ask(self, stream: str, command: Command, changes: int = 1) -> Answer:
        """The answer to a command that is accepted and makes so many changes."""
        submitted = submit(stream, command)
        began = perf_counter()
        answer = await self._asker.ask(submitted)
        self.latencies.append(perf_counter() - began)
        if answer.refusal is not None:
            raise NotAccepted(f"{stream}: {command.topic}: {answer.refusal.detail}")
        self.changes += changes
        return answer

    async def live(self, number: int, seen: Seen | None = None) -> None:
        """Take a one-task ticket through its life, each command after the reply to the last.

        With *seen* also note in `visible` after which time the opened ticket is to be seen.
        """
        stream = f"ticket/{number}"
        opening = c.Open(subject=subject(number), tasks=(task(TASK),))
        began = perf_counter()
        opened = await self.ask(stream, opening, changes=2)
        if seen is not None:
            await seen(opened.partition, opened.sequence)
            self.visible.append(perf_counter() - began)
        claim = c.Claim(task=TASK, worker=WORKER, request=f"request-{number}")
        token = (await self.ask(stream, claim)).version
        await self.ask(stream, c.Start(task=TASK, token=token))
        await self.ask(stream, passed(TASK, token), changes=2)
        self.finished += 1


def submit(stream: str, command: Command) -> Submitted:
    """The command on its way."""
    id_ = UUID(int=_ids.getrandbits(128))
    return Submitted(id=id_, stream=stream, command=command, actor="benchmark")


def subject(number: int) -> Subject:
    """What is tested."""
    revision = f"{number:040x}"
    return Subject(kind="pull_request", project="tower", name=f"#{number}", revision=revision)


def task(name: str) -> TaskSpec:
    """A task that needs no other."""
    return TaskSpec(
        name=name,
        run=Run(kind="shell", parameters={"command": f"make test-{name}"}),
        requires={"architecture": ("x86_64",), "distribution": ("bookworm",)},
    )


def opening(number: int) -> client.Opening:
    """A one-task ticket, as a client asks for it."""
    return client.Opening(
        id=str(number),
        subject=msgspec.convert(subject(number), client.Subject, from_attributes=True),
        tasks=(msgspec.convert(task(TASK), client.TaskSpec, from_attributes=True),),
    )


def passed(name: str, token: int) -> c.Report:
    """The task ran, and the test is content."""
    return c.Report(task=name, token=token, outcome=Outcome.PASSED)


def growing(number: int, tasks: int) -> Iterator[Command]:
    """What opens a ticket of so many tasks, in parts that fit into a record each."""
    yield c.Open(subject=subject(number), sealed=False)
    part: list[TaskSpec] = []
    filled = 0
    for n in range(tasks):
        one = task(f"task-{n}")
        size = len(msgspec.json.encode(one)) + 1
        if filled + size > DATA_LIMIT - 1024:
            yield c.AddTasks(tasks=tuple(part))
            part, filled = [], 0
        part.append(one)
        filled += size
    yield c.AddTasks(tasks=tuple(part))
    yield c.Seal()


async def at_once(
    number: int, work: Callable[[int], Awaitable[object]], items: Iterable[int]
) -> None:
    """Do the *work* for every item, *number* of them at a time."""
    waiting = iter(items)

    async def one_after_another() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(one_after_another())


async def wake(driver: Driver, partitions: int) -> int:
    """Take one ticket in each partition through its life, so that all are served.

    Returns the first number that is free for tickets.
    """
    numbers: dict[int, int] = {}
    number = 0
    while len(numbers) < partitions:
        numbers.setdefault(partition_of(f"ticket/{number}", partitions), number)
        number += 1
    await at_once(partitions, driver.live, numbers.values())
    return number
