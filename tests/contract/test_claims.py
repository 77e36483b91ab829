"""What claims promise on every log: each task once, and the same request gets the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID, uuid4

import pytest

from adapters.client import (
    Accepted,
    Claimed,
    Opening,
    Outcome,
    Reported,
    Run,
    Subject,
    TaskSpec,
    TicketProducer,
    WorkerClient,
    attempt_of,
)
from adapters.credentials import Credentials
from adapters.postgres.claims import Claims, Reservation, open_claims
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.leases import Leases, leasing
from adapters.postgres.views.view import address_of
from adapters.postgres.views.workers import Workers
from adapters.secrets import Secrets
from adapters.work.granting import Granting, Request
from tests.contract.live_site import Served, Site, site
from tests.contract.places import Place
from tests.contract.test_projector import seen

pytestmark = pytest.mark.service

SUBJECT = Subject("commit", project="tower", name="main", revision="c0ffee")


def ticket(id_: str, *tasks: str) -> Opening:
    return Opening(
        id=id_, subject=SUBJECT, tasks=tuple(TaskSpec(name, Run("noop")) for name in tasks)
    )


def names(tasks: Sequence[Claimed | Reservation]) -> list[tuple[str, str]]:
    return [(one.ticket, one.task) for one in tasks]


async def opened(here: Site, api: Served, *openings: Opening) -> None:
    """Open them, and wait until the views show it."""
    async with TicketProducer(api.url, api.token) as producer:
        async for answer in producer.submit_many(openings):
            assert isinstance(answer, Accepted), answer
    await seen(here.log, here.views)


@asynccontextmanager
async def runner(api: Served, name: str = "w1") -> AsyncIterator[WorkerClient]:
    async with WorkerClient(api.url, api.token, worker=name, session="s1") as client:
        await client.register(f"home-{name}")
        yield client


class Stages:
    """What an API does for a claim, step by step, so that it can die between two of them."""

    def __init__(self, claims: Claims, leases: Leases, workers: Workers, here: Site) -> None:
        self.claims = claims
        self.leases = leases
        self._workers = workers
        secrets = Secrets(None)
        self.granting = Granting(here.asker, claims, leases, Credentials(bytes(32)), secrets)

    async def reserved(self, request: UUID, most: int) -> Sequence[Reservation]:
        """Tasks that are reserved for worker w1."""
        classes = await self.claims.classes(0)
        found = (await self.claims.candidates(list(classes), most))[:most]
        wanted = [Reservation(one.ticket, one.task, one.since, "w1", str(request)) for one in found]
        return await self.claims.reserve(wanted, {"w1": "s1"})

    async def claimed(self, request: UUID, most: int) -> dict[tuple[str, str], int]:
        """Their tokens when they have been claimed as well."""
        reserved = await self.reserved(request, most)
        worker = await self._workers.get("w1")
        assert worker is not None
        return await self.granting.claim(Request(worker, str(request)), reserved)


@asynccontextmanager
async def stages(here: Site) -> AsyncIterator[Stages]:
    async with (
        open_claims(here.address, 2) as claims,
        leasing(here.address, 1) as leases,
        open_pool(here.workers, 1) as workers,
    ):
        yield Stages(claims, leases, Workers(workers), here)


# --------------------------------------------------------------------------------------------- once


async def test_two_desks_and_many_workers_claim_every_task_once(
    place: Place, address: Address
) -> None:
    async with site(place, address) as here, here.api() as one, here.api() as two:
        openings = [ticket(f"t{n}", "A", "B", "C") for n in range(30)]
        await opened(here, one, *openings)
        got: list[tuple[str, str]] = []

        async def work(runner: WorkerClient) -> None:
            while tasks := (await runner.claim(4, wait=1.5)).tasks:
                got.extend(names(tasks))
                await runner.report(
                    [Reported(**attempt_of(each), outcome=Outcome.PASSED) for each in tasks]
                )

        async with AsyncExitStack() as stack:
            runners = [
                await stack.enter_async_context(runner(api, f"w{n}"))
                for n, api in enumerate([one, two] * 4)
            ]
            await asyncio.gather(*map(work, runners))
        assert sorted((f"t{n}", task) for n in range(30) for task in "ABC") == sorted(got)
        await seen(here.log, here.views)
        await seen(here.log, address_of(address, "leases"))
        async with stages(here) as left:
            assert 0 == (await left.leases.look())[0].open
            assert [] == list(await left.claims.candidates(list(await left.claims.classes(0)), 9))


async def test_the_same_request_gets_the_same_from_another_api(
    place: Place, address: Address
) -> None:
    async with site(place, address) as here, here.api() as one, here.api() as two:
        await opened(here, one, ticket("9", "A", "B", "C"))
        request = uuid4()
        async with runner(one) as first:
            got = await first.claim(2, wait=10, request=request)
        async with runner(two) as second:
            again = await second.claim(2, wait=10, request=request)
    assert 2 == len(got.tasks)
    assert set(names(got.tasks)) == set(names(again.tasks))
    assert {task.token for task in got.tasks} == {task.token for task in again.tasks}
    assert {task.credential for task in got.tasks} == {task.credential for task in again.tasks}


async def test_what_an_api_reserved_before_it_died_the_same_request_gets(
    place: Place, address: Address
) -> None:
    async with site(place, address) as here, here.api() as api, runner(api) as one:
        await opened(here, api, ticket("9", "A", "B", "C"))
        request = uuid4()
        async with stages(here) as died:
            reserved = await died.reserved(request, 2)
        assert 1 == len((await one.claim(3)).tasks)  # another request gets what is left
        again = await one.claim(1, request=request)
        assert set(names(reserved)) == set(names(again.tasks))


async def test_what_an_api_claimed_before_it_died_the_same_request_gets(
    place: Place, address: Address
) -> None:
    async with site(place, address) as here, here.api() as api, runner(api) as one:
        await opened(here, api, ticket("9", "A", "B", "C"))
        request = uuid4()
        async with stages(here) as died:
            tokens = await died.claimed(request, 2)
            again = await one.claim(1, request=request)
            assert tokens == {(task.ticket, task.task): task.token for task in again.tasks}
            held = {(each.ticket, each.task): each.token for each in (await one.beat()).held}
            assert tokens == held
            await seen(here.log, address_of(address, "leases"))
            leases = await died.leases.of_request("w1", str(request))
            assert {"s1"} == {lease.session for lease in leases}


async def test_what_was_claimed_is_found_by_its_lease_when_the_reservation_is_gone(
    place: Place, address: Address
) -> None:
    async with site(place, address) as here, here.api() as api, runner(api) as one:
        await opened(here, api, ticket("9", "A", "B", "C"))
        request = uuid4()
        async with stages(here) as died:
            tokens = await died.claimed(request, 2)
            await seen(here.log, address_of(address, "leases"))
            await seen(here.log, here.views)
            await died.claims.release(await died.claims.reserved("w1", str(request)))
            assert [] == list(await died.claims.reserved("w1", str(request)))
        again = await one.claim(1, request=request)
        assert tokens == {(task.ticket, task.task): task.token for task in again.tasks}
        assert {1} == {task.attempt for task in again.tasks}
