"""What a runner tells of attempts is kept until it is taken, and no longer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.client import Accepted, Outcome, Rejected, Reported, Started
from workers.runner.delivery import Delivery, Kept, Reports, Telling

START = Started(ticket="t1", task="A", token=3)
REPORT = Reported(ticket="t1", task="A", token=3, outcome=Outcome.PASSED)


class Service:
    """Takes what is told, when it is let."""

    def __init__(self) -> None:
        self.told: list[Telling] = []
        self.asked = asyncio.Event()
        self.answers = asyncio.Semaphore(0)

    async def tell(self, some: Sequence[Telling]) -> Sequence[Accepted | Rejected]:
        self.asked.set()
        await self.answers.acquire()
        self.told += some
        return [Accepted(one.ticket, 4, 0, 9, "0:9") for one in some]


@asynccontextmanager
async def delivering(folder: Path, service: Service) -> AsyncIterator[Delivery]:
    delivery = Delivery(Reports(folder), service.tell)
    running = asyncio.create_task(delivery.run())
    yield delivery
    delivery.close()
    await running


async def test_the_answer_to_a_start_forgets_no_report(tmp_path: Path) -> None:
    service = Service()
    async with delivering(tmp_path, service) as delivery:
        delivery.tell(START)
        await service.asked.wait()  # and while nobody answers the attempt ends
        await delivery.report(REPORT, "turnstile_attempt_x")
        service.asked.clear()
        service.answers.release()
        await service.asked.wait()
        assert [Kept(REPORT, "turnstile_attempt_x")] == Reports(tmp_path).left()
        service.answers.release()
    assert [START, REPORT] == service.told
    assert [] == Reports(tmp_path).left()


async def test_an_attempt_is_untold_until_its_report_is_taken(tmp_path: Path) -> None:
    service = Service()
    async with delivering(tmp_path, service) as delivery:
        await delivery.report(REPORT, "turnstile_attempt_x")
        await service.asked.wait()
        assert {("t1", 3)} == delivery.untold
        service.answers.release()
    assert set() == delivery.untold
