"""Workers over HTTP: runners that come and go, and people who look and steer, on the real API."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from adapters.client import (
    Client,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Opening,
    Run,
    Subject,
    TaskSpec,
    WorkerClient,
)
from adapters.http.workers import BEAT
from adapters.postgres.connection import Address
from tests.service.real_api import RealApi, real

pytestmark = pytest.mark.service

ARM = {"arch": ("arm64",)}


class Site:
    """The API, and clients of it."""

    def __init__(self, api: RealApi) -> None:
        self.api = api
        self.url = f"http://{api.address[0]}:{api.address[1]}"

    def client(self, token: str | None = None) -> Client:
        return Client(self.url, token or self.api.token, patience=10)

    def runner(self, session: str = "s1", worker: str = "arm-7", token: str = "") -> WorkerClient:
        token = token or self.api.token
        return WorkerClient(self.url, token, worker=worker, session=session, patience=10)


@pytest_asyncio.fixture
async def site(address: Address, tmp_path: Path) -> AsyncIterator[Site]:
    async with real(address, tmp_path) as api:
        yield Site(api)


async def test_a_runner_registers_and_may_claim_when_it_is_answered(site: Site) -> None:
    async with site.runner() as runner, site.client() as client:
        registered = await runner.register("rack-2", ARM, 4)
        assert ("arm-7", 1, "available", BEAT) == (
            *(registered.worker, registered.version, registered.state, registered.beat),
        )
        found = await client.worker("arm-7")
        row = found.worker
        assert ("available", "s1", "rack-2", ARM, 4) == (
            *(row.state, row.session, row.home, row.capabilities, row.slots),
        )
        assert () == found.attempts


async def test_another_machine_is_refused_the_name_until_the_worker_is_gone(site: Site) -> None:
    async with site.runner() as runner, site.runner("s9") as other:
        await runner.register("rack-2")
        with pytest.raises(Conflict, match="Take another name") as refused:
            await other.register("rack-3")
        assert ("name-taken", "worker") == (refused.value.problem.kind, refused.value.problem.field)
        await runner.leave()
        assert "available" == (await other.register("rack-3")).state


async def test_a_newer_process_takes_over_and_the_older_is_told_to_end(site: Site) -> None:
    async with site.runner() as old, site.runner("s2") as new, site.client() as client:
        await old.register("rack-2")
        await new.register("rack-2")
        with pytest.raises(Conflict, match="is to end") as refused:
            await old.register("rack-2")
        assert "superseded-session" == refused.value.problem.kind
        left = await old.leave()
        found = await client.worker("arm-7", after=left.after)
        assert ("available", "s2") == (found.worker.state, found.worker.session)


async def test_a_worker_is_drained_and_resumed_and_its_runner_hears_of_it(site: Site) -> None:
    async with site.runner() as runner, site.client() as client:
        await runner.register("rack-2")
        drained = await client.drain("arm-7", reason="new disks")
        row = (await client.worker("arm-7", after=drained.after)).worker
        assert ("draining", "new disks") == (row.state, row.reason)
        assert "draining" == (await runner.register("rack-2")).state
        resumed = await client.resume("arm-7")
        assert "available" == (await client.worker("arm-7", after=resumed.after)).worker.state


async def test_one_that_is_gone_comes_back_with_the_same_session(site: Site) -> None:
    """As one that was asleep for too long does."""
    async with site.runner() as runner, site.client() as client:
        await runner.register("rack-2")
        await runner.leave(reason="a nap")
        with pytest.raises(Conflict, match="a nap"):
            await client.drain("arm-7")
        assert "available" == (await runner.register("rack-2")).state


async def test_a_worker_is_shown_with_the_attempts_that_it_has_under_way(site: Site) -> None:
    tasks = tuple(TaskSpec(name, Run("shell")) for name in ("A", "B", "C"))
    subject = Subject("commit", project="tower", name="main", revision="c0ffee")
    async with site.runner() as runner, site.client() as client:
        await runner.register("rack-2")
        await client.open(Opening(id="9", subject=subject, tasks=tasks))
        first = await site.api.claim("9", "A", "arm-7")
        await site.api.claim("9", "B", "other")
        await site.api.run("9", "C")
        last = [event async for event in client.events("9")][-1]
        await client.ticket("9", after=await _after(client, "9", last.version))
        found = await client.worker("arm-7")
        assert [("9", "A", first)] == [(a.ticket, a.task, a.token) for a in found.attempts]


async def _after(client: Client, ticket: str, version: int) -> str:
    row = await client.ticket(ticket)
    while row.version < version:
        row = await client.ticket(ticket)
    return f"{row.partition}:{row.sequence}"


async def test_workers_are_listed_by_name_and_state_page_by_page(site: Site) -> None:
    async with site.client() as client:
        for name in ("c", "a", "b"):
            async with site.runner(worker=name) as runner:
                await runner.register("rack-2")
        async with site.runner(worker="b") as runner:
            gone = await runner.leave()
        assert ["a", "b", "c"] == [row.worker async for row in client.workers(after=gone.after)]
        assert ["b"] == [row.worker async for row in client.workers(state="gone")]
        there = client.workers(state=("available", "draining"))
        assert ["a", "c"] == [row.worker async for row in there]
    async with httpx.AsyncClient(base_url=site.url) as anybody:
        first = (await anybody.get("/v1/workers?limit=2")).json()
        rest = (await anybody.get("/v1/workers", params={"cursor": first["next"]})).json()
        assert ["a", "b"] == [row["worker"] for row in first["rows"]]
        assert (["c"], None) == ([row["worker"] for row in rest["rows"]], rest["next"])


async def test_the_history_of_a_worker_is_told(site: Site) -> None:
    async with site.runner() as runner, site.client() as client:
        await runner.register("rack-2", ARM, 2)
        await client.drain("arm-7", reason="new disks")
        left = await runner.leave()
        await client.worker("arm-7", after=left.after)
        events = [event async for event in client.worker_events("arm-7")]
        assert [
            "registered by session s1",
            "draining: new disks",
            "gone, with session s1: it left",
        ] == [event.what for event in events]
        assert ("2 slots, home rack-2", "has arch arm64") == events[0].details
        behind = [event async for event in client.worker_events("arm-7", version=1)]
        assert [2, 3] == [event.version for event in behind]
        assert events[1:] == behind


async def test_what_nobody_registered_is_not_there(site: Site) -> None:
    async with site.runner() as runner, site.client() as client:
        for asking in (client.worker("nobody"), client.drain("nobody"), runner.leave()):
            with pytest.raises(NotFound, match="There is no worker") as refused:
                await asking
            assert "unknown-worker" == refused.value.problem.kind
        with pytest.raises(NotFound):
            await anext(client.worker_events("nobody"))


async def test_a_registration_that_is_wrong_names_the_field(site: Site) -> None:
    async with site.runner() as runner:
        for slots, home, field in ((0, "rack-2", "slots"), (1, "a b", "home")):
            with pytest.raises(Invalid) as refused:
                await runner.register(home, slots=slots)
            assert field == refused.value.problem.field


async def test_who_works_may_not_steer_and_who_steers_may_not_work(site: Site) -> None:
    async with site.client() as owner:
        works = (await owner.make_token("runners", ["work"])).token
        steers = (await owner.make_token("ops", ["operate"])).token
    assert works is not None
    assert steers is not None
    async with site.runner(token=works) as runner, site.client(works) as client:
        await runner.register("rack-2")
        with pytest.raises(Forbidden):
            await client.drain("arm-7")
    async with site.runner(token=steers) as runner, site.client(steers) as client:
        await client.drain("arm-7")
        for asking in (runner.register("rack-2"), runner.leave()):
            with pytest.raises(Forbidden):
                await asking
