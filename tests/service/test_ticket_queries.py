"""Queries of the views: what is asked for and nothing else, page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from adapters.postgres.connection import Address, open_pool
from adapters.postgres.views.queries import TicketQueries
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from domain.errors import Invalid
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.words import Outcome, Result
from domain.workflow import Subject
from projections.queries import (
    AttemptFilter,
    Page,
    QueueFilter,
    ResultFilter,
    TaskFilter,
    TicketFilter,
    cursor,
)
from projections.rows import Ticket
from tests.service.test_ticket_views import fold_of, folding, history, log_of
from tests.unit.given import NOON, Given, claim, opening, passed, report, task, working
from tests.unit.tables import Tables

pytestmark = pytest.mark.service

PROJECTS = ("tower", "bridge", "tunnel")
SECOND = timedelta(seconds=1)
RESULTS = (Result("login", Outcome.PASSED), Result("logout", Outcome.FAILED))


def ticket(n: int) -> Given:
    """One of many, each a second later than the one before."""
    given = Given(n * SECOND, stream=f"ticket/{n}")
    subject = Subject("commit", PROJECTS[n % 3], f"branch-{n % 5}", f"{n:040x}")
    tasks = opening(
        task("A", requires={"arch": ("arm64",)} if n % 2 else {}), task("B", "A"), priority=n % 4
    )
    labels = {"team": "red" if n % 2 else "blue", "nightly": "yes"} if n % 3 else {}
    given.after(replace(tasks, subject=subject, labels=labels))
    match n % 4:
        case 1:
            given.after(claim("A"))
        case 2:
            given.after(*working("A"), report("A", Outcome.FAILED, results=RESULTS))
        case 3:
            given.after(*working("A"), passed("A", results=RESULTS[:1]))
    return given


EVENTS = history(*map(ticket, range(60)))
TABLES = Tables()
TABLES.follow([EVENTS])


@pytest_asyncio.fixture
async def queries(address: Address) -> AsyncIterator[TicketQueries]:
    at = address_of(address, "tickets")
    view = await open_tickets(at, log_of(), lease=1)
    async with folding(view) as one, fold_of(one) as fold:
        await fold.fold(EVENTS)
    async with open_pool(at, 2) as pool:
        yield TicketQueries(pool)


async def everything(ask: Callable[[dict[str, Any]], Awaitable[Page[Any]]]) -> Sequence[Any]:
    """All pages, of seven rows each."""
    rows: list[Any] = []
    after = None
    while True:
        page = await ask({"limit": 7, "cursor": after})
        rows += page.rows
        if page.next is None:
            return rows
        assert 7 == len(page.rows)
        after = page.next


def newest_first(rows: Sequence[Ticket]) -> list[str]:
    return [row.ticket for row in sorted(rows, key=lambda row: (row.opened_at, row.ticket))][::-1]


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        (TicketFilter(), lambda row: True),
        (TicketFilter(state=(TicketState.FAILED,)), lambda row: row.state == "failed"),
        (
            TicketFilter(state=(TicketState.QUEUED, TicketState.FAILED)),
            lambda row: row.state in ("queued", "failed"),
        ),
        (TicketFilter(project="tower"), lambda row: row.project == "tower"),
        (
            TicketFilter(project="tower", name="branch-3"),
            lambda row: (row.project, row.name) == ("tower", "branch-3"),
        ),
        (TicketFilter(revision=f"{7:040x}"), lambda row: row.ticket == "7"),
        (TicketFilter(kind="package"), lambda row: False),
        (TicketFilter(label=("team=red",)), lambda row: row.labels.get("team") == "red"),
        (
            TicketFilter(label=("team=blue", "nightly=yes")),
            lambda row: row.labels == {"team": "blue", "nightly": "yes"},
        ),
        (TicketFilter(label=("team=blue", "team=red")), lambda row: False),
        (
            TicketFilter(state=tuple(TicketState), project="tower", label=("team=red",)),
            lambda row: (row.project, row.labels.get("team")) == ("tower", "red"),
        ),
        (
            TicketFilter(since=NOON + 10 * SECOND, before=NOON + 20 * SECOND),
            lambda row: 10 <= int(row.ticket) < 20,
        ),
    ],
)
async def test_tickets_are_found_by_every_condition(
    queries: TicketQueries, asked: TicketFilter, fits: Callable[[Ticket], bool]
) -> None:
    expected = newest_first([row for row in TABLES.tickets.values() if fits(row)])
    found = await everything(lambda more: queries.tickets(replace(asked, **more)))
    assert expected == [row.ticket for row in found]


async def test_a_ticket_is_found_as_it_is(queries: TicketQueries) -> None:
    assert TABLES.tickets["7"] == await queries.ticket("7")
    assert await queries.ticket("none") is None


async def test_the_tasks_of_a_ticket_come_in_its_order(queries: TicketQueries) -> None:
    found = await everything(lambda more: queries.tasks("7", TaskFilter(**more)))
    assert ["A", "B"] == [row.task for row in found]
    ready = TaskFilter(state=(TaskState.READY,))
    assert ["B"] == [row.task for row in (await queries.tasks("7", ready)).rows]


async def test_the_queue_is_in_the_order_of_ranks(queries: TicketQueries) -> None:
    waiting = [row for row in TABLES.tasks.values() if row.rank is not None]
    expected = sorted((row.rank, row.ticket, row.task) for row in waiting)
    found = await everything(lambda more: queries.queue(QueueFilter(**more)))
    assert expected == [(row.rank, row.ticket, row.task) for row in found]
    class_ = TABLES.tasks["4", "A"].class_
    some = await everything(
        lambda more: queries.queue(QueueFilter(project="bridge", class_=class_, **more))
    )
    assert {("bridge", class_)} == {(row.project, row.class_) for row in some}


async def test_attempts_come_by_ticket_and_task(queries: TicketQueries) -> None:
    [attempt] = (await queries.attempts("2", AttemptFilter())).rows
    assert ("A", 1, "task_failed") == (attempt.task, attempt.number, attempt.ended)
    assert [] == (await queries.attempts("2", AttemptFilter(task="B"))).rows


async def test_results_come_by_test_case_newest_first(queries: TicketQueries) -> None:
    asked = ResultFilter(testcase="login")
    found = await everything(lambda more: queries.results(replace(asked, **more)))
    expected = sorted(
        ((row.at, row.ticket) for row in TABLES.results.values() if row.testcase == "login"),
        reverse=True,
    )
    assert expected == [(row.at, row.ticket) for row in found]
    failed = ResultFilter(ticket="2", outcome=(Outcome.FAILED,))
    assert ["logout"] == [row.testcase for row in (await queries.results(failed)).rows]


async def test_results_of_everything_are_not_given(queries: TicketQueries) -> None:
    with pytest.raises(Invalid, match="testcase: name a test case, or a ticket"):
        await queries.results(ResultFilter())


@pytest.mark.parametrize("given", ["x", "", "e30", cursor(("soon", 3)), "\udcff", "e" * 9999])
async def test_a_cursor_that_nobody_handed_out_is_refused(
    queries: TicketQueries, given: str
) -> None:
    with pytest.raises(Invalid, match="cursor: it is none that was handed out"):
        await queries.tickets(TicketFilter(cursor=given))
