"""The claim's statements: the heads of the queue by leaps, and what reservations keep away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from adapters.postgres.claims import BY_INDEX, SQL, Claims, Reservation, open_claims, paths
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from adapters.postgres.views.workers import open_workers
from domain.workflow import Requirements, Subject
from projections.queue import Candidate, class_of
from tests.service.test_ticket_views import fold_of, folding, history, log_of
from tests.unit.given import Given, opening, task

pytestmark = pytest.mark.service

ANY = class_of({})
ARM: Requirements = {"arch": ("arm64",)}


def ticket(
    id_: str, *tasks: str, project: str = "tower", requires: Requirements | None = None, **more: Any
) -> Given:
    """A ticket of a project."""
    specs = [task(name, requires=requires or {}) for name in tasks or ("A",)]
    subject = Subject("commit", project, "main", "c0ffee")
    return Given(replace(opening(*specs, **more), subject=subject), stream=f"ticket/{id_}")


class Queue:
    """What waits, and workers of the names w1 and w2 that may claim, in session s1."""

    def __init__(self, address: Address, claims: Claims) -> None:
        self.address = address
        self.claims = claims

    async def fold(self, *tickets: Given) -> None:
        """This has happened."""
        view = await open_tickets(address_of(self.address, "tickets"), log_of())
        async with folding(view) as sharing, fold_of(sharing) as fold:
            await fold.fold(history(*tickets))

    async def execute(self, statement: str) -> Any:
        """Do something to the tables, or ask them."""
        settings = {"search_path": paths(self.address), **BY_INDEX}
        connection = await connect(address_of(self.address, "claims"), **settings)
        try:
            return await connection.fetch(statement)
        finally:
            await close(connection)

    async def candidates(self, *classes: str, heads: int = 100) -> Sequence[Candidate]:
        return await self.claims.candidates(classes or (ANY,), heads)

    async def names(self, *classes: str, heads: int = 100) -> list[str]:
        found = await self.candidates(*classes, heads=heads)
        return [f"{one.ticket}/{one.task}" for one in sorted(found, key=lambda one: one.ticket)]

    async def reserve(
        self, *candidates: Candidate, worker: str = "w1", session: str = "s1"
    ) -> Sequence[Reservation]:
        wanted = [
            Reservation(one.ticket, one.task, one.since, worker, f"of-{worker}")
            for one in candidates
        ]
        return await self.claims.reserve(wanted, {worker: session})


@pytest_asyncio.fixture
async def queue(address: Address) -> AsyncIterator[Queue]:
    async with AsyncExitStack() as stack:
        await open_tickets(address_of(address, "tickets"), log_of())
        await open_workers(address_of(address, "workers"), log_of())
        queue = Queue(address, await stack.enter_async_context(open_claims(address, 3)))
        await queue.execute(
            "INSERT INTO workers "
            "SELECT name, 0, state, 's1', name, '{}', 1, now(), now(), '', 1, 1 FROM "
            "(VALUES ('w1', 'available'), ('w2', 'available'), ('old', 'draining')) "
            "AS w (name, state)"
        )
        yield queue


# ------------------------------------------------------------------------------------- the heads


async def test_the_classes_of_what_ever_waited_are_known(queue: Queue) -> None:
    await queue.fold(ticket("1", "A", "B"), ticket("2", requires=ARM), ticket("3"))
    assert {ANY: {}, class_of(ARM): ARM} == await queue.claims.classes(0)
    assert {} == await queue.claims.classes(2)


async def test_of_each_class_and_project_the_first_ones_are_found(queue: Queue) -> None:
    await queue.fold(
        *(ticket(f"t{n}") for n in range(5)),
        *(ticket(f"b{n}", project="bridge") for n in range(5)),
        ticket("x1", requires=ARM),
        ticket("first", priority=3),
    )
    assert ["b0/A", "b1/A", "first/A", "t0/A"] == await queue.names(heads=2)
    assert ["x1/A"] == await queue.names(class_of(ARM))
    assert [] == await queue.names("none")


async def test_what_may_not_begin_yet_or_cannot_be_folded_is_left_out(queue: Queue) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await queue.fold(ticket("1", not_before=later, priority=1_000), ticket("2"), ticket("3"))
    await queue.execute("UPDATE tickets SET problem = 'odd' WHERE ticket = '2'")
    assert ["3/A"] == await queue.names()


@pytest.mark.parametrize("seen", ["nothing", "an empty queue", "a long queue"])
async def test_the_heads_cost_no_more_for_a_long_queue(queue: Queue, seen: str) -> None:
    """Whatever the planner believes of the tables: nothing but leaps and heads."""
    if seen == "an empty queue":
        await queue.fold(*_many("done"))
        await queue.execute("UPDATE tasks SET rank = NULL, due = NULL, state = 'blocked'")
        await queue.execute("ANALYZE tasks")
        await queue.execute("ANALYZE tickets")
    await queue.fold(*_many("t"))
    if seen == "a long queue":
        await queue.execute("ANALYZE tasks")
        await queue.execute("ANALYZE tickets")
    statement = SQL["candidates"].replace("$1::text[]", f"ARRAY['{ANY}', 'none']")
    [(plan,)] = await queue.execute(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.replace('LIMIT $2', 'LIMIT 2')}"
    )
    steps = list(_steps(json.loads(plan)[0]["Plan"]))
    of_tables = [step for step in steps if "Relation Name" in step]
    assert {"Index Scan", "Index Only Scan"} >= {step["Node Type"] for step in of_tables}
    assert 200 > sum(step["Actual Rows"] * step["Actual Loops"] for step in of_tables)


def _many(name: str) -> Iterator[Any]:
    """Tickets of eight projects."""
    for project in range(8):
        for n in range(60):
            yield ticket(f"{name}{project}-{n}", "A", "B", project=f"p{project}")


def _steps(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(step for below in plan.get("Plans", ()) for step in _steps(below))]


# ------------------------------------------------------------------------------------ reservations


async def test_what_is_reserved_nobody_else_gets(queue: Queue) -> None:
    await queue.fold(ticket("1"), ticket("2"))
    one, two = sorted(await queue.candidates(), key=lambda one: one.ticket)
    assert ["1"] == [each.ticket for each in await queue.reserve(one)]
    assert ["2/A"] == await queue.names()
    assert ["2"] == [each.ticket for each in await queue.reserve(one, two, worker="w2")]
    assert [] == await queue.names()


async def test_many_who_reserve_at_once_get_each_task_once(queue: Queue) -> None:
    await queue.fold(*(ticket(f"t{n}") for n in range(40)))
    found = list(await queue.candidates())
    got = await asyncio.gather(
        *(queue.reserve(*(found if n % 2 else found[::-1]), worker="w1") for n in range(6))
    )
    assert sorted(one.ticket for one in found) == sorted(one.ticket for some in got for one in some)


async def test_a_reservation_runs_out(queue: Queue) -> None:
    await queue.fold(ticket("1"))
    [one] = await queue.candidates()
    await queue.reserve(one)
    await queue.execute("UPDATE reservations SET until = now() - interval '5 seconds'")
    assert ["1/A"] == await queue.names()
    assert [] == list(await queue.claims.reserved("w1", "of-w1"))
    assert ["w2"] == [each.worker for each in await queue.reserve(one, worker="w2")]


async def test_what_has_run_out_is_swept_away(queue: Queue) -> None:
    await queue.fold(ticket("1"), ticket("2"))
    one, two = await queue.candidates()
    await queue.reserve(one)
    await queue.execute("UPDATE reservations SET until = now() - interval '5 seconds'")
    await queue.reserve(two)
    await queue.claims.sweep()
    assert [(two.ticket,)] == [
        tuple(row) for row in await queue.execute("SELECT ticket FROM reservations")
    ]


async def test_the_reservation_of_an_earlier_waiting_keeps_nobody_away(queue: Queue) -> None:
    await queue.fold(ticket("1"))
    [one] = await queue.candidates()
    await queue.reserve(one)
    await queue.execute("UPDATE tasks SET since = since + interval '1 second'")
    [again] = await queue.candidates()
    assert ["w2"] == [each.worker for each in await queue.reserve(again, worker="w2")]


async def test_the_same_request_finds_what_is_reserved_for_it(queue: Queue) -> None:
    await queue.fold(ticket("1"), ticket("2"))
    one, two = await queue.candidates()
    mine = await queue.reserve(one)
    await queue.reserve(two, worker="w2")
    assert list(mine) == list(await queue.claims.reserved("w1", "of-w1"))
    await queue.claims.release(mine)
    assert [] == list(await queue.claims.reserved("w1", "of-w1"))


@pytest.mark.parametrize(("worker", "session"), [("w1", "s0"), ("old", "s1"), ("nobody", "s1")])
async def test_who_may_not_claim_reserves_nothing(queue: Queue, worker: str, session: str) -> None:
    await queue.fold(ticket("1"))
    [one] = await queue.candidates()
    assert [] == list(await queue.reserve(one, worker=worker, session=session))
    assert ["1/A"] == await queue.names()
