"""Tickets that a program asks for through Kafka: a real broker, a real intake, real rules."""

import asyncio
from typing import Any

import msgspec
import pytest

from adapters.client import Rejected, TicketProducer, Unavailable
from adapters.client.kafka import KafkaTicketProducer, Sent
from adapters.config import Requests
from adapters.requests import command_id
from tests.kafka_proxy import Api, proxied
from tests.service.request_site import OPENED, Site, of
from tests.service.test_client import large, ticket

pytestmark = pytest.mark.service

SOURCE = "https://forge.example.org/tower"
GROWN = [
    "turnstile.ticket.opened",
    "turnstile.ticket.tasks_added",
    "turnstile.ticket.sealed",
    "turnstile.ticket.tasks_ready",
]


MAY = ("turnstile.ticket.open", "turnstile.ticket.add_tasks", "turnstile.ticket.seal")


@pytest.fixture
def site(kafka: str) -> Site:
    site = Site(kafka)
    intake = {**site.config.intake, site.forge: Requests("forge", MAY)}
    site.config = msgspec.structs.replace(site.config, intake=intake)
    return site


def producer(site: Site, **more: Any) -> KafkaTicketProducer:
    return TicketProducer.kafka(site.servers, site.forge, source=SOURCE, **more)


async def test_a_ticket_is_asked_for_once_however_often_it_is_sent(site: Site) -> None:
    async with site.serving("engine", "intake") as service:
        async with producer(site, actor="alice") as one, producer(site, actor="alice") as another:
            first = await one.submit(ticket("9"))
            again = await another.submit(ticket("9"))
        assert (first.id, first.partition) == (again.id, again.partition)
        assert first.offset < again.offset
        await site.settled(service)
        events = of(await site.events(), "9")
        assert OPENED == [event["type"] for event in events]
        assert {"forge:alice"} == {event["actor"] for event in events}
        assert {str(command_id(SOURCE, first.id))} == {event["causationid"] for event in events}
        assert [] == await site.dead()


async def test_many_and_large_ones_are_asked_for(site: Site) -> None:
    openings = [ticket(str(n)) for n in range(1_200)]
    openings[7] = large("7", 2_000)
    openings[8] = ticket("8", "a b")
    async with site.serving("engine", "intake") as service:
        async with producer(site) as asking:
            sent = [one async for one in asking.submit_many(openings)]
            await asking.submit(large("7", 2_000))
        assert [opening.id for opening in openings] == [one.ticket for one in sent]
        assert [8] == [n for n, one in enumerate(sent) if isinstance(one, Rejected)]
        await site.settled(service)
        events = await site.events()
        opened = {event["subject"] for event in events if event["type"] == OPENED[0]}
        assert {f"ticket/{n}" for n in range(1_200) if n != 8} == opened
        assert set(GROWN) == {event["type"] for event in of(events, "7")}
        added = [event for event in of(events, "7") if event["type"] in GROWN[:2]]
        assert 2_000 == sum(len(event["data"].get("tasks", ())) for event in added)
        assert [] == await site.dead()


async def test_a_lost_acknowledgement_makes_no_second_ticket(site: Site) -> None:
    async with site.serving("engine", "intake") as service, proxied(site.servers) as proxy:
        async with TicketProducer.kafka(proxy.servers, site.forge, source=SOURCE) as asking:
            await asking.submit(ticket("8"))
            with proxy.losing_responses(Api.PRODUCE) as lost:
                sending = asyncio.ensure_future(asking.submit(ticket("9")))
                await lost.arrived()
            sent = await sending
        await site.settled(service)
        events = of(await site.events(), "9")
        assert OPENED == [event["type"] for event in events]
        assert isinstance(sent, Sent)


async def test_brokers_that_are_away_have_taken_nothing() -> None:
    asking = KafkaTicketProducer("127.0.0.1:9", "forge.requests", source=SOURCE, patience=0.3)
    async with asking:
        with pytest.raises(Unavailable, match=r"127.0.0.1:9: no answer in 0.3 s"):
            await asking.submit(ticket("9"))
