"""The Python client and the real API: what the views hold is what a program reads."""

from typing import Any

import pytest

from adapters.client import Client, Invalid, NotFound
from tests.service.test_api import Site, site
from tests.service.test_ticket_queries import EVENTS, TABLES

__all__ = ["site"]
pytestmark = pytest.mark.service


@pytest.fixture
def url(site: Site) -> str:
    return str(site._client.base_url)


async def test_all_that_is_there_can_be_read(url: str) -> None:
    async with Client(url) as client:
        assert [str(n) for n in range(59, -1, -1)] == [t.ticket async for t in client.tickets()]
        for name in ("0", "2", "3"):
            seen = await client.ticket(name)
            row = TABLES.tickets[name]
            assert (row.state, row.version, row.opened_at) == (
                seen.state,
                seen.version,
                seen.opened_at,
            )
            assert seen.has_ended == (row.ended_at is not None)
        tasks = [task async for task in client.tasks("2", state=["failed", "skipped"])]
        assert [("A", "failed"), ("B", "skipped")] == [(task.task, task.state) for task in tasks]
        attempts = [attempt async for attempt in client.attempts("2", task="A")]
        assert ["task_failed"] == [attempt.ended for attempt in attempts]


async def test_a_history_is_read_whole_and_in_part(url: str) -> None:
    own = [event for event in EVENTS if event.originator_id == "ticket/2"]
    async with Client(url) as client:
        events = [event async for event in client.events("2")]
        assert [event.originator_version for event in own] == [event.version for event in events]
        assert [str(event.id) for event in own] == [event.id for event in events]
        part = [event.version async for event in client.events("2", version=1, until=3)]
        assert [2, 3] == part


async def test_the_queue_and_results_are_read(url: str) -> None:
    async with Client(url) as client:
        queue = [task async for task in client.queue(project="tower")]
        assert queue == sorted(queue, key=lambda task: task.rank or 0)
        of_class = [task async for task in client.queue(class_=queue[0].class_)]
        assert {queue[0].class_} == {task.class_ for task in of_class}
        results = [one async for one in client.results(testcase="logout", outcome="failed")]
        assert {("logout", "failed")} == {(one.testcase, one.outcome) for one in results}


@pytest.mark.parametrize(
    ("asked", "refusal", "said"),
    [
        (lambda client: client.ticket("none"), NotFound, "There is no ticket 'none'"),
        (lambda client: client.ticket("a b"), Invalid, "ticket"),
        (lambda client: anext(client.results()), Invalid, "testcase"),
        (lambda client: anext(client.tickets(label="team")), Invalid, "label"),
    ],
)
async def test_what_is_refused_says_why(url: str, asked: Any, refusal: Any, said: str) -> None:
    async with Client(url) as client:
        with pytest.raises(refusal, match=said):
            await asked(client)
