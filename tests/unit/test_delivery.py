"""What is told of attempts: in order, until there is an answer, and not lost with the runner."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from adapters.client import Accepted, Rejected, Reported, Started, errors
from workers.runner import delivery
from workers.runner.delivery import Delivery, Kept, Reports, Telling, deliver_left
from workers.runner.home import home

Answer = Accepted | Rejected


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "AGAIN", 0.001)


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path)


class Service:
    """Answers as it is told to, once each; then it accepts."""

    def __init__(self, *answers: Exception | int) -> None:
        self.heard: list[Telling] = []
        self._answers = list(answers)

    async def tell(self, some: Sequence[Telling]) -> Sequence[Answer]:
        self.heard += some
        answer = self._answers.pop(0) if self._answers else 200
        if isinstance(answer, Exception):
            raise answer
        if answer == 200:
            return [Accepted(one.ticket, 1, 0, 1, "0:1") for one in some]
        problem = errors.Problem("urn:turnstile:problem:stale-token", "", answer, "It is over.")
        return [Rejected(one.ticket, problem) for one in some]


def report(token: int) -> Reported:
    return Reported(ticket="9", task="unit", token=token)


async def deliver(reports: Reports, service: Service, *tokens: int) -> None:
    delivering = Delivery(reports, service.tell)
    for token in tokens:
        await delivering.report(report(token), "credential")
    delivering.close()
    await delivering.run()


async def test_a_report_that_nobody_waits_for_any_more_is_told_and_not_left_on_disk(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    keep = reports.keep

    def slowly(kept: Kept) -> None:
        begun.set()
        go_on.wait(20)
        keep(kept)

    monkeypatch.setattr(reports, "keep", slowly)
    service = Service()
    delivering = Delivery(reports, service.tell)
    reporting = asyncio.create_task(delivering.report(report(1), "credential"))
    await asyncio.to_thread(begun.wait, 20)
    reporting.cancel()
    go_on.set()
    await asyncio.wait({reporting})
    assert reporting.cancelled()
    delivering.close()
    await delivering.run()
    assert ([], [report(1)]) == (reports.left(), service.heard)


@pytest.mark.parametrize("ticket", [".x", "x"])
def test_a_report_is_kept_whatever_its_ticket_is_called(ticket: str, tmp_path: Path) -> None:
    kept = Kept(Reported(ticket=ticket, task="unit", token=3), "credential")
    with home(tmp_path) as held:
        Reports(held.reports).keep(kept)
    with home(tmp_path) as held:
        assert [kept] == Reports(held.reports).left()


async def test_a_report_is_on_disk_until_it_is_accepted(reports: Reports) -> None:
    seen: list[int] = []

    class Looking(Service):
        async def tell(self, some: Sequence[Telling]) -> Sequence[Answer]:
            seen.append(len(reports.left()))
            return await super().tell(some)

    await deliver(reports, Looking(), 3)
    assert [1] == seen
    assert [] == reports.left()


async def test_what_nobody_has_answered_is_told_again_in_its_order(reports: Reports) -> None:
    service = Service(errors.Unavailable("away"), errors.NoAnswer("silent"))
    await deliver(reports, service, 3, 4)
    assert [3, 4, 3, 4, 3, 4] == [one.token for one in service.heard]


async def test_a_report_that_comes_too_late_is_not_told_again(reports: Reports) -> None:
    service = Service(409)
    await deliver(reports, service, 3)
    assert [report(3)] == service.heard
    assert [] == reports.left()


async def test_what_the_service_cannot_take_now_is_told_again(reports: Reports) -> None:
    service = Service(503, 429)
    await deliver(reports, service, 3)
    assert [report(3)] * 3 == service.heard


async def test_a_start_is_told_and_not_kept(reports: Reports) -> None:
    service, started = Service(), Started(ticket="9", task="unit", token=3)
    delivering = Delivery(reports, service.tell)
    delivering.tell(started)
    assert [] == reports.left()
    delivering.close()
    await delivering.run()
    assert [started] == service.heard


async def test_a_disk_that_takes_nothing_loses_no_report_of_who_lives(tmp_path: Path) -> None:
    service = Service()
    await deliver(Reports(tmp_path / "nowhere"), service, 3)
    assert [report(3)] == service.heard


async def test_a_runner_that_may_not_speak_hears_of_it(reports: Reports) -> None:
    problem = errors.Problem("urn:turnstile:problem:superseded-session", "", 409, "")
    with pytest.raises(errors.Conflict):
        await deliver(reports, Service(errors.Refused.by(problem)), 3)
    assert [Kept(report(3), "credential")] == reports.left()


def saying(*answers: Exception | None) -> tuple[list[int], Callable[[Kept], Awaitable[None]]]:
    heard: list[int] = []
    left = list(answers)

    async def tell(kept: Kept) -> None:
        heard.append(kept.report.token)
        if error := left.pop(0) if left else None:
            raise error

    return heard, tell


async def test_what_a_runner_has_left_the_next_one_tells(reports: Reports) -> None:
    for token in (3, 4):
        reports.keep(Kept(report(token), "credential"))
    heard, tell = saying(errors.Unavailable("away"))
    await deliver_left(reports, tell)
    assert [3, 3, 4] == heard
    assert [] == reports.left()


async def test_what_was_left_and_comes_too_late_is_told_once(reports: Reports) -> None:
    reports.keep(Kept(report(3), "credential"))
    problem = errors.Problem("urn:turnstile:problem:stale-token", "", 409, "It is over.")
    heard, tell = saying(errors.Refused.by(problem))
    await asyncio.wait_for(deliver_left(reports, tell), 5)
    assert [3] == heard
    assert [] == reports.left()
