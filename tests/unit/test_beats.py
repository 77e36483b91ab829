"""When a runner is heard of, and which leases it keeps."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.client import (
    Accepted,
    Beat,
    Claimed,
    Claims,
    Outcome,
    Registered,
    Rejected,
    Reported,
    WorkerClient,
)
from adapters.client.workflow import Run, Subject, TaskSpec
from adapters.client.working import HeldAttempt, LostAttempt
from workers.runner import beating
from workers.runner.attempts import Execute
from workers.runner.delivery import Delivery, Reports, Telling
from workers.runner.runner import Runner

CLAIMED = Claimed(
    ticket="t1",
    task="A",
    token=3,
    attempt=1,
    lease=0.03,
    credential="turnstile_attempt_x",
    subject=Subject("commit", "tower", "main", "c0ffee"),
    spec=TaskSpec("A", Run("shell")),
)


def passing(ends: asyncio.Event) -> Execute:
    """An attempt that ends when it is let."""

    async def execute(claimed: Claimed, started: Callable[[], None]) -> Reported:
        await ends.wait()
        return Reported(ticket="t1", task="A", token=3, outcome=Outcome.PASSED)

    return execute


class Desk:
    """A service with one task, that wants to hear of its workers every hour."""

    def __init__(self) -> None:
        self.beats: asyncio.Queue[list[tuple[str, int]]] = asyncio.Queue()
        self.held: tuple[HeldAttempt, ...] = ()
        self.lost: tuple[LostAttempt, ...] = ()
        self.told: list[Telling] = []
        self.reported = asyncio.Event()
        self.takes_reports = asyncio.Event()
        self.taken = asyncio.Event()
        self._tasks = [CLAIMED]

    async def register(self, home: str, has: Mapping[str, Any], slots: int) -> Registered:
        return Registered("w1", 1, "available", 3_600.0)

    async def leave(self) -> None:
        pass

    async def claim(self, tasks: int, **_: object) -> Claims:
        if not self._tasks:
            await asyncio.Event().wait()
        return Claims((self._tasks.pop(),), "available")

    async def beat(self, attempts: Sequence[tuple[str, int]], *, longest: float) -> Beat:
        self.beats.put_nowait(list(attempts))
        return Beat("available", self.lost, self.held)

    async def report(self, some: Sequence[Telling]) -> Sequence[Accepted | Rejected]:
        self.reported.set()
        await self.takes_reports.wait()
        self.told += some
        self.taken.set()
        return [Accepted(one.ticket, 4, 0, 9, "0:9") for one in some]


@asynccontextmanager
async def at_work(folder: Path, desk: Desk, execute: Execute) -> AsyncIterator[None]:
    """A runner with one slot."""
    delivery = Delivery(Reports(folder), desk.report)
    client = cast(WorkerClient, desk)
    worker = Runner("w1", client, delivery, execute, home="h", capabilities={}, wait=0)
    work = asyncio.create_task(worker.run())
    yield
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_a_lease_shorter_than_the_services_pace_is_kept(tmp_path: Path) -> None:
    desk = Desk()
    async with at_work(tmp_path, desk, passing(asyncio.Event())):
        assert [[("t1", 3)]] * 3 == [await desk.beats.get() for _ in range(3)]


async def test_others_are_kept_while_one_that_was_lost_comes_to_its_end(tmp_path: Path) -> None:
    desk, ends = Desk(), asyncio.Event()

    async def execute(claimed: Claimed, started: Callable[[], None]) -> Reported:
        try:
            await asyncio.Event().wait()
        finally:
            await ends.wait()  # what it has started takes its time to end
        raise AssertionError

    async with at_work(tmp_path, desk, execute):
        await desk.beats.get()
        desk.lost = (LostAttempt("t1", 3, "lease_lost"),)
        assert [[("t1", 3)]] * 5 == [await desk.beats.get() for _ in range(5)]
        ends.set()
    assert [] == desk.told


async def test_a_lease_is_kept_until_its_report_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beating, "UNKNOWN", 0.0)
    desk, ends = Desk(), asyncio.Event()
    desk.held = (HeldAttempt("t1", 3, "A"),)
    async with at_work(tmp_path, desk, passing(ends)):
        await desk.beats.get()
        ends.set()
        await desk.reported.wait()  # and it is not answered
        while not desk.beats.empty():
            desk.beats.get_nowait()
        assert [[("t1", 3)]] * 3 == [await desk.beats.get() for _ in range(3)]
        desk.takes_reports.set()
        await desk.taken.wait()
    assert ["reported"] == [one.__struct_config__.tag for one in desk.told]
