"""How far everything is, on every log, and what is said of it."""

import asyncio
from typing import Any

import pytest
import structlog.testing

from adapters.asking import asking
from adapters.log import Log
from adapters.postgres.connection import Address, connect
from tests.contract.live_site import CODEC, Served, Site, site
from tests.contract.places import LEASE, Place, taken
from tests.contract.test_projector import ask, engine_on, live
from tests.unit.given import opening
from workers.progress import Progress

pytestmark = pytest.mark.service


async def owned(log: Log) -> None:
    async with asyncio.timeout(20):
        while not all(one.owner for one in await log.standings()):
            await asyncio.sleep(0.05)


async def test_a_standing_says_how_far_a_partition_is_and_who_has_it(place: Place) -> None:
    async with place.open(2, codec=CODEC) as log:
        before = await log.standings()
        assert [(0, 0, 0, 0), (1, 0, 0, 0)] == [
            (one.partition, one.inbox, one.decided, one.events) for one in before
        ]
        assert {None} == {one.owner for one in before}
        async with engine_on(log), asking(log) as asker:
            await asyncio.gather(*(live(asker, str(n)) for n in range(6)))
            await owned(log)
            for one in await log.standings():
                inbox = await log.inbox_end(one.partition)
                assert (inbox, inbox) == (one.inbox, one.decided)
                assert await log.end(one.partition) == one.events > 0
                assert one.owner is not None
                assert one.owner.startswith("engine")


async def test_commands_that_nobody_decides_are_seen(place: Place) -> None:
    async with place.open(1, codec=CODEC) as log:
        async with engine_on(log), asking(log) as asker:
            await ask(asker, "1", opening("A"))
        await place.put_command(0)
        await place.put_command(0)
        [one] = await log.standings()
        assert (3, 1) == (one.inbox, one.decided)


async def test_an_owner_is_named_until_it_gives_the_partition_back(on_postgres: Place) -> None:
    async with on_postgres.open(1) as log:
        async with log.join("rack-7") as membership:
            owner = await taken(membership, 0)
            [one] = await log.standings()
            assert one.owner is not None
            assert one.owner.startswith("rack-7-")
            assert one.lease is not None
            assert 0 < one.lease <= LEASE
            await owner.release()
        [one] = await log.standings()
        assert (None, None) == (one.owner, one.lease)


async def ready(here: Served) -> tuple[int, Any]:
    response = await here.client.get("/v1/ready")
    return response.status_code, response.json()


async def settled(here: Site, api: Served) -> None:
    ends = [await here.log.end(n) for n in range(here.log.partitions)]
    for partition, end in enumerate(ends):
        await api.live.positions.reached(partition, end)


async def test_it_is_ready_when_everything_is_at_the_end(place: Place, address: Address) -> None:
    async with site(place, address, 2) as here, here.api() as api:
        await asyncio.gather(*(live(here.asker, str(n)) for n in range(6)))
        await settled(here, api)
        await owned(here.log)
        assert (200, {"ready": True}) == await ready(api)
        assert {"alive": True} == (await api.client.get("/v1/health")).json()
        rows = (await api.client.get("/v1/partitions")).json()["rows"]
        views = {"tickets", "leases", "workers", *(["history"] if here.has_archive else [])}
        assert [0, 1] == [row["partition"] for row in rows]
        for row in rows:
            assert row["inbox"] == row["decided"]
            ways = [row["engine"], *row["views"]]
            assert {"engine", *views} == {way["of"] for way in ways}
            assert {"at the end"} == {way["state"] for way in ways}
            assert all(way["owner"] for way in ways)
            assert {row["events"]} == {way["done"] for way in row["views"]}


async def test_what_stands_is_named_with_what_to_do(
    place: Place, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.progress.PAUSE", 0.1)
    async with place.open(2, codec=CODEC) as log, asking(log) as asker:
        here = Site(log, asker, address, place)
        async with engine_on(log):
            await live(asker, "1")
        async with here.api() as api:
            status, problem = await ready(api)
            [behind, *_] = problem["behind"]
            assert (503, "tickets") == (status, behind["of"])
            assert "is a `turnstile projector` running?" in problem["detail"]
            async with here.projecting():
                await settled(here, api)
                assert (200, {"ready": True}) == await ready(api)
            await place.put_command(0)
            async with asyncio.timeout(10):
                while (await ready(api))[0] == 200:  # a look serves whoever asks for a moment
                    await asyncio.sleep(0.05)
            status, problem = await ready(api)
            assert (503, ["engine"]) == (status, [one["of"] for one in problem["behind"]])
            assert problem["behind"][0]["since"] is not None


async def test_it_is_judged_without_http(on_postgres: Place, address: Address) -> None:
    async with site(on_postgres, address, 1) as here, here.api() as api:
        await live(here.asker, "1")
        await settled(here, api)
        progress = Progress(here.log, await here.opened())
        assert all(one.is_well for one in await progress.judge())


async def _cut(address: Address, which: str) -> None:
    connection = await connect(address)
    cut = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE application_name = 'turnstile' AND pid <> pg_backend_pid() AND {which}"
    )
    await connection.close()
    assert cut


async def test_a_lost_notification_is_made_up_for_and_so_are_lost_connections(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address, 1) as here, here.api() as api, api.listening() as stream:
        await stream.begun()
        await _cut(address, f"query LIKE 'LISTEN%' AND query LIKE '%{address.schema}%'")
        await ask(here.asker, "1", opening("A"))
        assert ["1", "1"] == [one.data["ticket"] for one in await stream.take(2)]
        with structlog.testing.capture_logs():
            await _cut(address, "true")
            await ask(here.asker, "2", opening("A"))
            assert ["2", "2"] == [one.data["ticket"] for one in await stream.take(2)]
        found = await api.client.get("/v1/tickets/2", params={"after": "0:4"})
        assert 200 == found.status_code
