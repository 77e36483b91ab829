"""Runners that claim, keep leases and report over HTTP, and have no work to do in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final
from uuid import uuid4

from adapters.client import (
    Accepted,
    Claimed,
    Outcome,
    Rejected,
    Reported,
    Started,
    WorkerClient,
    attempt_of,
)
from tests.benchmarks.api import Served
from tests.benchmarks.tickets import NotAccepted

CAPABILITIES: Final = {"architecture": ("x86_64",), "distribution": ("bookworm",)}

WAIT: Final = 20.0
"""Seconds that a claim waits, as a real runner's does."""

MOST: Final = 100
"""Tasks of one claim, at most; and attempts of which two reports each are in two requests."""

COMING_AND_GOING: Final = 2

OnClaimed = Callable[[Claimed], None]
OnReported = Callable[[Accepted], None]


class Runner:
    """One worker, as a real one does it: one claim at a time for its free slots, reports in bulk,
    and heartbeats as often as the service wants them."""

    def __init__(self, desk: WorkerClient, slots: int) -> None:
        self.attempts = 0
        self.requests = 0
        self.latencies: list[float] = []
        """Seconds from a claim's answer until all of it is reported."""
        self._desk = desk
        self._slots = slots
        self._under_way: dict[tuple[str, int], None] = {}
        self._reporting: set[asyncio.Task[None]] = set()
        self._free = asyncio.Event()
        self._beat = 5.0

    async def register(self) -> None:
        """Be a worker that can do whatever is asked for."""
        registered = await self._desk.register(f"home-{uuid4().hex}", CAPABILITIES, self._slots)
        self._beat = registered.beat

    async def work(self, on_claimed: OnClaimed, on_reported: OnReported) -> None:
        """Claim and report, for ever. Raises NotAccepted."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_beating())
            while True:
                while (free := self._slots - len(self._under_way)) < 1:
                    self._free.clear()
                    await self._free.wait()
                claims = await self._desk.claim(min(free, MOST), wait=WAIT)
                self.requests += 1
                if claims.tasks:
                    self._under_way |= {(one.ticket, one.token): None for one in claims.tasks}
                    for one in claims.tasks:
                        on_claimed(one)
                    group.create_task(self._report(claims.tasks, on_reported))

    async def _report(self, claimed: tuple[Claimed, ...], on_reported: OnReported) -> None:
        began = perf_counter()
        told = [
            report
            for one in claimed
            for report in (
                Started(**attempt_of(one)),
                Reported(**attempt_of(one), outcome=Outcome.PASSED),
            )
        ]
        answers = [accepted(answer) for answer in await self._desk.report(told)]
        self.requests += -(-len(told) // MOST)
        self.latencies.append(perf_counter() - began)
        for one, answer in zip(claimed, answers[1::2], strict=True):
            del self._under_way[one.ticket, one.token]
            on_reported(answer)
        self.attempts += len(claimed)
        self._free.set()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            if self._under_way:  # what is lost the answer to its report says
                await self._desk.beat(list(self._under_way))
                self.requests += 1


def accepted(answer: Accepted | Rejected) -> Accepted:
    """The answer. Raises NotAccepted if it is a refusal."""
    if isinstance(answer, Rejected):
        raise NotAccepted(f"{answer.ticket}: {answer.problem.detail}")
    return answer


@asynccontextmanager
async def registered(
    api: Served, name: str, number: int, slots: int
) -> AsyncIterator[list[Runner]]:
    """So many workers, each with connections of its own. In the end they leave.

    In the log that makes `COMING_AND_GOING` events of each.
    """
    desks = [
        WorkerClient(api.url, api.token, worker=f"{name}-{n}", session=uuid4().hex)
        for n in range(number)
    ]
    runners = [Runner(desk, slots) for desk in desks]
    try:
        for runner in runners:
            await runner.register()
        yield runners
        for desk in desks:
            await desk.leave()
    finally:
        for desk in desks:
            await desk.close()


def nothing(_: object) -> None:
    """Nobody wants to know."""


@asynccontextmanager
async def working(
    runners: list[Runner], on_claimed: OnClaimed = nothing, on_reported: OnReported = nothing
) -> AsyncIterator[None]:
    """They work meanwhile. What one of them raises ends the body, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.work(on_claimed, on_reported)) for one in runners]
            yield
            for task in tasks:
                task.cancel()
    except* NotAccepted as failed:
        raise failed.exceptions[0] from None
