"""The Python client: whatever happens on the way, what was asked is done once, and told once."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from adapters.client import (
    Accepted,
    Client,
    Conflict,
    Forbidden,
    Invalid,
    NoAnswer,
    NotFound,
    Opening,
    Refused,
    Rejected,
    Run,
    Scope,
    Subject,
    TaskSpec,
    TicketProducer,
    Unauthenticated,
    Unavailable,
)
from adapters.client.bulk import LINES
from adapters.client.rows import Event
from adapters.client.workflow import encode
from tests.http_proxy import Proxy, Trouble, busy, lose, proxied, reset
from tests.service.contract_api import READER, TOKEN, Served, contract
from tests.service.real_api import real

pytestmark = pytest.mark.service

SUBJECT = Subject("commit", project="tower", name="main", revision="c0ffee")


def ticket(id_: str, *tasks: str, **rest: Any) -> Opening:
    """A ticket with these tasks."""
    specs = tuple(TaskSpec(name, Run("shell")) for name in tasks or ("unit",))
    return Opening(id=id_, subject=SUBJECT, tasks=specs, **rest)


def large(id_: str, tasks: int = 1_500, **rest: Any) -> Opening:
    """A ticket that does not fit into one request; every task needs the one behind it."""
    specs = tuple(
        TaskSpec(
            f"t{n}",
            Run("shell", {"command": ["x" * 600]}),
            needs=(f"t{n + 1}",) if n + 1 < tasks else (),
        )
        for n in range(tasks)
    )
    return Opening(id=id_, subject=SUBJECT, tasks=specs, **rest)


class Site:
    """An API, and a proxy before it that makes trouble. Nothing here knows which API it is."""

    def __init__(self, api: Served, proxy: Proxy) -> None:
        self.run = api.run
        self.proxy = proxy
        self.url = proxy.url
        self.token = api.token

    def client(self, token: str | None = None, patience: float = 10.0) -> Client:
        return Client(self.url, token or self.token, patience=patience)

    def producer(self, patience: float = 10.0) -> TicketProducer:
        return TicketProducer(self.url, self.token, patience=patience)


on_the_real_api = pytest.mark.parametrize("serving", ["real"], indirect=True)
everywhere = pytest.mark.parametrize("serving", ["contract", "real"], indirect=True)
"""Other tests ask the one that keeps its contract: it starts in no time."""


@pytest.fixture
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[Served]:
    if getattr(request, "param", "contract") == "contract":
        return contract()
    return real(request.getfixturevalue("address"), tmp_path)


@pytest_asyncio.fixture
async def site(serving: AbstractAsyncContextManager[Served]) -> AsyncIterator[Site]:
    async with serving as api, proxied(*api.address) as proxy:
        yield Site(api, proxy)


async def history(client: Client, id_: str) -> list[Event]:
    """What has happened to a ticket."""
    return [event async for event in client.events(id_)]


def types(events: list[Event]) -> list[str]:
    return [event.type.removeprefix("turnstile.ticket.") for event in events]


OPENED = ["opened", "tasks_ready"]


# ------------------------------------------------------------------------------ what is changed


@everywhere
async def test_a_ticket_is_opened_seen_and_steered(site: Site) -> None:
    async with site.client() as client:
        accepted = await client.open(ticket("9", "build", "unit", labels={"team": "red"}))
        assert ("9", 1) == (accepted.ticket, accepted.version)
        await client.hold("9", "unit", reason="not yet")
        accepted = await client.prioritise("9", 5)
        seen = await client.ticket("9", after=accepted.after)
        assert ("queued", 5, {"team": "red"}) == (seen.state, seen.priority, seen.labels)
        tasks = {task.task: task.state async for task in client.tasks("9")}
        assert {"build": "ready", "unit": "held"} == tasks
        await client.unhold("9")
        accepted = await client.cancel("9", reason="no need")
        assert (await client.ticket("9", after=accepted.after)).has_ended
        accepted = await client.rerun("9", scope=Scope.FAILED)
        seen = await client.ticket("9", after=accepted.after)
        assert ("running", None) == (seen.state, seen.ended_at)
        held = [event.what for event in await history(client, "9") if "held: unit" in event.what]
        assert any("not yet" in what for what in held)


async def test_a_growing_ticket_is_sealed(site: Site) -> None:
    async with site.client() as client:
        await client.open(ticket("9", sealed=False))
        await client.add_tasks("9", [TaskSpec("more", Run("shell"), needs=("unit",))])
        accepted = await client.seal("9")
        seen = await client.ticket("9", after=accepted.after)
        assert (True, 2) == (seen.sealed, seen.tasks)


@pytest.mark.parametrize(
    "trouble",
    [reset(), lose(), lose(40), busy(502), busy(503), busy(503, "retry-after: 0"), busy(504)],
)
async def test_a_change_is_made_once_whatever_becomes_of_its_answers(
    site: Site, trouble: Trouble
) -> None:
    async with site.client() as client:
        await client.open(ticket("9"))
        site.proxy.next(trouble, trouble)
        accepted = await client.cancel("9")
        assert 4 == site.proxy.requests
        events = await history(client, "9")
        assert [*OPENED, "tasks_cancelled", "cancelled"] == types(events)
        assert (3, 2) == (accepted.version, len({event.command for event in events}))


@everywhere
@pytest.mark.parametrize(
    ("asked", "refusal", "field"),
    [
        (lambda client: client.open(ticket("9", "other")), Conflict, "id"),
        (lambda client: client.cancel("none"), NotFound, "ticket"),
        (lambda client: client.cancel("9", "none"), NotFound, "tasks[0]"),
        (lambda client: client.prioritise("9", 10**9), Invalid, "priority"),
        (lambda client: client.ticket("none"), NotFound, "ticket"),
    ],
)
async def test_what_is_refused_is_asked_once_and_says_why(
    site: Site, asked: Any, refusal: type[Exception], field: str
) -> None:
    async with site.client() as client:
        await client.open(ticket("9"))
        before = site.proxy.requests
        with pytest.raises(refusal) as caught:
            await asked(client)
        assert before + 1 == site.proxy.requests
        assert field in str(caught.value)
        assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize(("token", "refusal"), [(READER, Forbidden), ("?", Unauthenticated)])
async def test_who_may_not_is_told_so(site: Site, token: str, refusal: type[Exception]) -> None:
    async with site.client(token) as client:
        with pytest.raises(refusal):
            await client.open(ticket("9"))
        assert token not in repr(client)
        assert [] == [row async for row in client.tickets()]


async def test_a_wrong_ticket_is_refused_before_anybody_is_asked(site: Site) -> None:
    wrong = ticket("9", "a b")
    async with site.client() as client:
        with pytest.raises(Invalid, match=r"tasks\[0\]\.name: .*regex"):
            await client.open(wrong)
    assert 0 == site.proxy.requests


@pytest.mark.parametrize("status", [404, 413, 501])
async def test_who_is_not_turnstile_is_told_from_it(site: Site, status: int) -> None:
    site.proxy.next(busy(status))
    async with site.client() as client:
        with pytest.raises(
            Refused, match=f"{site.url} .* as Turnstile does: it answered {status}"
        ) as caught:
            await client.ticket("9")
        with pytest.raises(NotFound) as missing:
            await client.ticket("9")
    assert ("foreign", status) == (caught.value.problem.kind, caught.value.problem.status)
    assert "unknown-ticket" == missing.value.problem.kind


async def test_where_nobody_listens_nothing_is_taken() -> None:
    async with Client("http://127.0.0.1:9", patience=0.2) as client:
        with pytest.raises(Unavailable, match=r"http://127.0.0.1:9: no answer in 0.2 s"):
            await client.open(ticket("9"))


@everywhere
async def test_what_has_no_answer_can_be_asked_again_with_its_key(site: Site) -> None:
    async with site.client(patience=0.5) as client:
        await client.open(ticket("9"))
        site.proxy.next(*[lose()] * 20)
        with pytest.raises(NoAnswer) as caught:
            await client.cancel("9")
    async with site.client() as client:
        site.proxy.forget()
        site.proxy.next(*[lose()] * 3)
        accepted = await client.cancel("9", key=caught.value.key)
        assert 3 == accepted.version
        assert [*OPENED, "tasks_cancelled", "cancelled"] == types(await history(client, "9"))


async def test_the_environment_says_where_the_server_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNSTILE_URL", f"{site.proxy.url}/")
    monkeypatch.setenv("TURNSTILE_TOKEN", f"{TOKEN}\n")
    async with TicketProducer() as producer:
        assert 1 == (await producer.submit(ticket("9"))).version


# --------------------------------------------------------------------------------- many at once


async def test_many_are_opened_and_each_is_answered_in_its_place(site: Site) -> None:
    openings = [ticket(str(n)) for n in range(3 * LINES + 7)]
    openings[5] = ticket("5", "a b")
    openings[LINES] = ticket("0", "another")
    async with site.producer() as producer:
        answers = [answer async for answer in producer.submit_many(openings)]
    assert [opening.id for opening in openings] == [answer.ticket for answer in answers]
    rejected = {n: one.problem.kind for n, one in enumerate(answers) if isinstance(one, Rejected)}
    assert {5: "invalid", LINES: "different-body"} == rejected
    assert 4 == site.proxy.requests
    assert len(openings) - 2 == len(await _seen(site, answers))


@everywhere
async def test_of_many_only_those_without_an_answer_are_sent_again(site: Site) -> None:
    openings = [ticket(str(n)) for n in range(LINES)]
    site.proxy.next(reset(), lose(20_000), lose(), busy(503), lose(30_000))
    async with site.producer() as producer:
        answers = [answer async for answer in producer.submit_many(iter(openings))]
    assert [str(n) for n in range(LINES)] == [answer.ticket for answer in answers]
    assert all(isinstance(answer, Accepted) for answer in answers)
    size = sum(len(encode(opening)) + 1 for opening in openings)
    assert 2 * size < site.proxy.heard < 4 * size
    async with site.client() as client:
        for n in (0, 1, LINES // 2, LINES - 1):
            assert OPENED == types(await history(client, str(n)))[:2]


async def test_many_without_an_answer_say_from_where_on(site: Site) -> None:
    site.proxy.next(*[lose()] * 50)
    async with site.producer(patience=0.3) as producer:
        with pytest.raises(NoAnswer, match="10 tickets, from '0' on"):
            await anext(producer.submit_many(ticket(str(n)) for n in range(10)))


async def test_who_has_heard_enough_of_many_leaves_nothing_behind(site: Site) -> None:
    async def endless() -> AsyncIterator[Opening]:
        for n in count():
            yield ticket(str(n))

    async with site.producer() as producer:
        before = asyncio.all_tasks()
        async with aclosing(producer.submit_many(endless())) as answers:
            assert "0" == (await anext(answers)).ticket
        mine = {task for task in asyncio.all_tasks() - before if "_send" in repr(task.get_coro())}
        assert set() == mine


@everywhere
async def test_a_large_ticket_goes_in_parts_and_once(site: Site) -> None:
    opening = large("9")
    async with site.producer() as producer:
        site.proxy.next(lose(), busy(503), lose(), lose())
        first = await producer.submit(opening)
        again = await producer.submit(opening)
        assert (1, 1) == (first.version, again.version)
        [among] = [answer async for answer in producer.submit_many([opening])]
        assert 1 == among.version if isinstance(among, Accepted) else among
        with pytest.raises(Conflict):
            await producer.submit(replace(opening, priority=3))
    async with site.client() as client:
        events = await history(client, "9")
        done = [type_ for type_ in types(events) if type_ != "turnstile.command_noted"]
        assert ["opened", *["tasks_added"] * 4, "sealed", "tasks_ready"] == done
        assert {"tasks": ["t1499"]} in [event.data for event in events]


async def test_a_large_ticket_that_is_no_workflow_leaves_nothing(site: Site) -> None:
    sound = large("9")
    cycle = replace(sound.tasks[-1], needs=("t0",))
    async with site.producer() as producer:
        with pytest.raises(Invalid, match="a cycle"):
            await producer.submit(replace(sound, tasks=(*sound.tasks[:-1], cycle)))
    assert 0 == site.proxy.requests


# -------------------------------------------------------------------------------- what is told


async def test_lists_are_read_page_by_page(site: Site) -> None:
    async with site.producer() as producer:
        sent = [one async for one in producer.submit_many(ticket(str(n)) for n in range(1_100))]
    assert {str(n) for n in range(1_100)} == set(await _seen(site, sent))
    before = site.proxy.requests
    async with site.client() as client:
        found = [row.ticket async for row in client.tickets(state=["queued"], project="tower")]
        assert [] == [row async for row in client.tickets(project="none")]
    assert {str(n) for n in range(1_100)} == set(found)
    assert (1_100, 4) == (len(found), site.proxy.requests - before)


@everywhere
async def test_changes_are_told_once_and_in_order_over_many_connections(site: Site) -> None:
    tickets = [f"t{n}" for n in range(40)]
    told: dict[str, list[str]] = {name: [] for name in tickets}
    async with site.client() as client, client.changes() as changes:
        await changes.opened()
        for name in tickets:
            await client.open(ticket(name))
            await site.run(name, "unit")
        count = 0
        async with asyncio.timeout(20):
            async for change in changes:
                told[change.ticket].append(change.id)
                count += 1
                if count % 30 == 0:
                    site.proxy.next(reset(), lose(3_000), busy(502), busy(429), lose(9_999))
                    site.proxy.cut()
                if change.type == "turnstile.ticket.passed" and count >= 6 * len(tickets):
                    break
        site.proxy.forget()
        for name in tickets:
            assert [event.id for event in await history(client, name)] == told[name]


@everywhere
async def test_a_stream_that_is_cut_before_it_says_where_it_begins_is_not_open_yet(
    site: Site,
) -> None:
    async with site.client() as client:
        streaming = client.connection.streaming("GET", "/v1/stream")
        async with streaming as answer:
            head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
        site.proxy.next(lose(len("HTTP/1.1 200 OK\r\n") + head + len("\r\n")))
        before = site.proxy.requests
        async with client.changes() as changes, asyncio.timeout(20):
            await changes.opened()
            assert 2 == site.proxy.requests - before
            await client.open(ticket("1"))
            assert ("1", 1) == _place(await anext(changes))


@everywhere
async def test_a_stream_goes_on_behind_a_change_of_another_day(site: Site) -> None:
    async with site.client() as client:
        async with client.changes(ticket="9") as changes:
            await changes.opened()
            await client.open(ticket("8"))
            await client.open(ticket("9"))
            first = await anext(changes)
            last = changes.last_id
        await client.cancel("9")
        async with client.changes(ticket="9", after_id=last) as changes:
            versions = [(await anext(changes)).version for _ in range(3)]
        assert ("9", 1, [2, 3, 4]) == (first.ticket, first.version, versions)
        assert "opened for commit main of tower" in first.what


@everywhere
async def test_who_stops_waiting_for_a_change_misses_none(site: Site) -> None:
    async with site.client() as client, client.changes() as changes:
        await changes.opened()
        for n in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(changes)
            await client.open(ticket(str(n)))
            assert (str(n), 1) == _place(await anext(changes))
            assert (str(n), 2) == _place(await anext(changes))


async def test_a_stream_ends_when_it_or_its_client_is_closed(site: Site) -> None:
    async with site.client() as client:
        changes = client.changes()
        waiting = [asyncio.ensure_future(_all(changes)) for _ in range(2)]
        await changes.opened()
        await changes.close()
        assert [[], []] == await asyncio.gather(*waiting)
        another = client.changes()
        waiting = [asyncio.ensure_future(_all(another))]
        await another.opened()
    assert [[]] == await asyncio.gather(*waiting)


async def test_a_stream_that_is_refused_says_why(site: Site) -> None:
    async with site.client() as client:
        with pytest.raises(Invalid, match="Last-Event-ID"):
            await anext(client.changes(after_id="odd"))


@everywhere
async def test_one_waits_until_a_ticket_has_ended(site: Site) -> None:
    async with site.client() as client:
        accepted = await client.open(ticket("9"))
        waiting = asyncio.ensure_future(client.wait(accepted, 20))
        async with client.changes() as changes:
            await changes.opened()
            site.proxy.cut()
            await site.run("9", "unit")
        assert "passed" == (await waiting).state
        assert "passed" == (await client.wait("9")).state
        with pytest.raises(NotFound):
            await client.wait("none")
        again = await client.rerun("9")
        with pytest.raises(TimeoutError):
            await client.wait(again, 0.05)


async def _all(changes: Any) -> list[Any]:
    return [change async for change in changes]


def _place(change: Any) -> tuple[str, int]:
    return change.ticket, change.version


async def _seen(site: Site, answers: Sequence[Accepted | Rejected]) -> list[str]:
    """The tickets that the views have, when they have come to what was answered."""
    ends: dict[int, int] = {}
    for answer in answers:
        if isinstance(answer, Accepted):
            ends[answer.partition] = max(ends.get(answer.partition, 0), answer.sequence)
    async with site.client() as client:
        for partition, sequence in ends.items():
            await anext(client.tickets(after=f"{partition}:{sequence}"))
        return [row.ticket async for row in client.tickets()]
