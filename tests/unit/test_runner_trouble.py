"""A runner whose service is in trouble, whose attempts go wrong, or who is told to end."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.client import (
    Accepted,
    Beat,
    Claimed,
    Claims,
    Execution,
    Registered,
    Reported,
    Run,
    Subject,
    TaskSpec,
    WorkerClient,
    WorkerState,
    errors,
)
from workers.runner import delivery, presence, runner
from workers.runner.attempts import Execute
from workers.runner.delivery import Delivery, Reports, Telling
from workers.runner.runner import Runner

ORDER = Claimed(
    ticket="t",
    task="A",
    token=3,
    attempt=1,
    lease=60.0,
    credential="credential",
    subject=Subject("commit", project="p", name="main", revision="c0ffee"),
    spec=TaskSpec(name="A", run=Run("shell")),
)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (delivery, presence, runner):
        monkeypatch.setattr(module, "AGAIN", 0.0)
    monkeypatch.setattr(runner, "LAST", 0.0)


class Desk:
    """A service that gives one task; *trouble* is what goes wrong, by request, once each."""

    def __init__(self, **trouble: Exception) -> None:
        self.told: list[Telling] = []
        self.beaten = asyncio.Event()
        self.away = False
        self._trouble = trouble
        self._orders = [ORDER]

    def _meet(self, request: str) -> None:
        if error := self._trouble.pop(request, None):
            raise error

    async def register(self, home: str, has: Mapping[str, Any], slots: int) -> Registered:
        self._meet("register")
        return Registered("w", 1, "available", 0.001)

    async def claim(self, tasks: int, **_: object) -> Claims:
        self._meet("claim")
        given, self._orders = tuple(self._orders), []
        return Claims(given, WorkerState.AVAILABLE)

    async def beat(self, attempts: Sequence[tuple[str, int]], *, longest: float) -> Beat:
        self._meet("beat")
        self.beaten.set()
        return Beat(WorkerState.AVAILABLE, (), ())

    async def report(self, some: Sequence[Telling]) -> Sequence[Accepted]:
        if self.away:
            raise errors.Unavailable("nobody is there")
        self.told += some
        return [Accepted(one.ticket, 1, 0, 1, "0:1") for one in some]

    async def leave(self) -> None:
        self._meet("leave")


def of(desk: Desk, execute: Execute, folder: Path, limit: float = 600.0) -> Runner:
    return Runner(
        "w",
        cast("WorkerClient", desk),
        Delivery(Reports(folder), desk.report),
        execute,
        home="h",
        capabilities={},
        once=True,
        limit=limit,
    )


def trouble(status: int) -> errors.Refused:
    return errors.Refused.by(errors.Problem(f"{errors.KIND}some", "Some", status, "It is so."))


async def passes(claimed: Claimed, started: Callable[[], None]) -> Reported:
    return Reported(ticket=claimed.ticket, task=claimed.task, token=claimed.token)


@pytest.mark.parametrize("status", [429, 500])
async def test_a_service_in_trouble_ends_no_runner(status: int, tmp_path: Path) -> None:
    desk = Desk(register=trouble(status), claim=trouble(status), beat=trouble(status))

    async def lasts_until_it_is_heard_of(claimed: Claimed, started: Callable[[], None]) -> Reported:
        await desk.beaten.wait()
        return await passes(claimed, started)

    await of(desk, lasts_until_it_is_heard_of, tmp_path).run()
    assert [Execution.OK] == [one.execution for one in desk.told if isinstance(one, Reported)]


async def test_a_mistake_of_ours_ends_the_attempt_and_costs_a_retry(tmp_path: Path) -> None:
    async def fails(claimed: Claimed, started: Callable[[], None]) -> Reported:
        raise RecursionError("too deep")

    desk = Desk()
    await of(desk, fails, tmp_path).run()
    (told,) = desk.told
    assert isinstance(told, Reported)
    assert Execution.INFRASTRUCTURE is told.execution
    assert "the runner failed: RecursionError('too deep')" == told.reason


async def test_who_has_no_more_time_leaves_its_reports_on_disk(tmp_path: Path) -> None:
    desk = Desk()
    desk.away = True
    works = of(desk, passes, tmp_path, limit=0.0)
    running = asyncio.create_task(works.run())
    while not (left := Reports(tmp_path).left()):
        await asyncio.sleep(0)
    works.stop()
    await running
    assert ["t"] == [kept.report.ticket for kept in left]
    assert left == Reports(tmp_path).left()
