"""What is told of attempts reaches the service; a report that is wrong is nobody else's harm."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from adapters.client import Accepted, Execution, Outcome, Rejected, Reported, errors
from workers.runner import delivery
from workers.runner.delivery import Delivery, Kept, Reports, Telling, deliver_left

DONE = Accepted("t", 1, 0, 1, "0:1")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "AGAIN", 0.0)


def report(ticket: str, reason: str = "") -> Reported:
    return Reported(ticket=ticket, task="A", token=3, outcome=Outcome.PASSED, reason=reason)


def problem(status: int) -> errors.Problem:
    return errors.Problem(f"{errors.KIND}some", "Some", status, "It is so.")


class Service:
    """Takes reports, if *judge* has nothing against them: it may raise, or answer a problem."""

    def __init__(self, judge: Callable[[Reported], errors.Problem | None], whole: bool) -> None:
        self.has: list[Reported] = []
        self._judge = judge
        self._whole = whole

    async def tell(self, some: Sequence[Telling]) -> Sequence[Accepted | Rejected]:
        reports = [one for one in some if isinstance(one, Reported)]
        judged = [self._judge(one) for one in reports]
        if self._whole:
            for wrong in filter(None, judged):
                raise errors.Refused.by(wrong)
        self.has += [one for one, wrong in zip(reports, judged, strict=True) if wrong is None]
        return [
            DONE if wrong is None else Rejected(one.ticket, wrong)
            for one, wrong in zip(reports, judged, strict=True)
        ]


async def told(service: Service, folder: Path, *reports: Reported) -> list[Telling]:
    """What is still on disk when all is told."""
    kept = Reports(folder)
    delivery = Delivery(kept, service.tell)
    for one in reports:
        await delivery.report(one, "credential")
    delivery.close()
    await delivery.run()
    return [one.report for one in kept.left()]


def too_large(one: Reported) -> errors.Problem | None:
    return problem(413) if one.ticket == "wrong" and one.outcome is not None else None


@pytest.mark.parametrize("whole", [True, False], ids=["the request", "the report"])
async def test_of_a_report_that_is_refused_as_wrong_it_is_told_that_the_attempt_is_over(
    whole: bool, tmp_path: Path
) -> None:
    service = Service(too_large, whole)
    assert [] == await told(service, tmp_path, report("one"), report("wrong"), report("two"))
    by_ticket = {one.ticket: one for one in service.has}
    assert {"one": Outcome.PASSED, "two": Outcome.PASSED, "wrong": None} == {
        ticket: one.outcome for ticket, one in by_ticket.items()
    }
    assert (Execution.INFRASTRUCTURE, "its report was refused: It is so.") == (
        by_ticket["wrong"].execution,
        by_ticket["wrong"].reason,
    )


async def test_what_is_refused_whatever_it_says_is_told_no_more(tmp_path: Path) -> None:
    service = Service(lambda _: problem(422), whole=True)
    assert [] == await told(service, tmp_path, report("wrong"))
    assert [] == service.has


async def test_of_an_attempt_that_was_lost_nothing_is_told_in_its_place(tmp_path: Path) -> None:
    service = Service(lambda _: problem(409), whole=False)
    assert [] == await told(service, tmp_path, report("lost"))
    assert [] == service.has


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_service_in_trouble_is_told_again(status: int, tmp_path: Path) -> None:
    trouble = [problem(status)] * 3
    service = Service(lambda _: trouble.pop() if trouble else None, whole=True)
    assert [] == await told(service, tmp_path, report("one"), report("two"))
    assert ["one", "two"] == sorted(one.ticket for one in service.has)


async def test_a_runner_that_is_refused_keeps_its_reports(tmp_path: Path) -> None:
    service = Service(lambda _: problem(401), whole=True)
    with pytest.raises(errors.Unauthenticated):
        await told(service, tmp_path, report("one"), report("two"))
    assert ["one", "two"] == [kept.report.ticket for kept in Reports(tmp_path).left()]


async def test_what_an_earlier_runner_has_left_ends_its_attempt_too(tmp_path: Path) -> None:
    reports, has = Reports(tmp_path), []
    reports.keep(Kept(report("wrong"), "credential"))

    async def tell(kept: Kept) -> None:
        if wrong := too_large(kept.report):
            raise errors.Refused.by(wrong)
        has.append(kept)

    await deliver_left(reports, tell)
    (one,) = has
    assert ("credential", Execution.INFRASTRUCTURE) == (one.credential, one.report.execution)
    assert [] == reports.left()
