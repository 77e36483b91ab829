"""Requests of foreign producers in a real Kafka: who sends them has never heard of this library."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.requests import command_id
from tests.journey.command import turnstile
from tests.service.foreign_clients import Sent, binary, headers, structured
from tests.service.request_site import OPENED, PATIENCE, Site, asks, noted, of
from workers.child import Child

pytestmark = pytest.mark.service


@pytest.fixture
def site(kafka: str) -> Site:
    return Site(kafka)


# ---------------------------------------------------------------------------- what becomes of them


@pytest.mark.parametrize("mode", [structured, binary])
async def test_a_client_of_another_library_asks_for_a_ticket_and_follows_its_events(
    site: Site, mode: Any
) -> None:
    async with site.serving("engine", "intake") as service:
        await site.send(mode(asks("9", actor="alice", traceparent="00-1-2-01"), site.forge))
        await site.settled(service)
        events = of(await site.events(), "9")
        assert OPENED == [event["type"] for event in events]
        (cause,) = {event["causationid"] for event in events}
        assert str(command_id("/forge/hooks", "opening of 9")) == cause
        assert {"forge:alice"} == {event["actor"] for event in events}
        assert {"00-1-2-01"} == {event["traceparent"] for event in events}
        assert "main" == events[0]["data"]["subject"]["name"]


async def test_the_same_request_makes_one_ticket_however_often_and_wherever_it_comes(
    site: Site,
) -> None:
    request = asks("9")
    places = [
        mode(request, topic, partition=partition)
        for mode in (structured, binary)
        for topic in (site.forge, site.archive)
        for partition in (0, 1)
    ]
    async with site.serving("engine") as service:
        async with site.serving("intake"):
            await site.send(*places, *places[:1])
            await site.settled(service)
        async with site.serving("intake"):  # another one, later
            await site.send(places[0])
            await site.settled(service)
        assert OPENED == [event["type"] for event in await site.events()]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_requests_are_read(site: Site, codec: str) -> None:
    async with site.serving("engine", "intake") as service:
        requests = [structured(asks(str(n)), site.forge) for n in range(20)]
        await site.send(*requests, compression_codec=codec, linger_ms=100)
        await site.settled(service)
        events = await site.events()
        assert all(OPENED == [one["type"] for one in of(events, str(n))] for n in range(20))


# ----------------------------------------------------------------------------------------- rubbish


async def test_rubbish_is_put_aside_with_its_reason_and_stops_nobody(site: Site) -> None:
    json_event = ("content-type", b"application/cloudevents+json")
    rubbish: list[tuple[Sent, str]] = [
        (Sent(site.forge, None, key=b"a tombstone"), "content-type: it is neither"),
        (Sent(site.forge, None), "content-type: it is neither"),
        (Sent(site.forge, b"\xff\xfe", key=b"\0"), "value: no CloudEvent in JSON"),
        (Sent(site.forge, b"<xml/>", [("content-type", b"text/xml")]), "content-type: it is n"),
        (Sent(site.forge, b"{}", [json_event, ("x", None)]), "specversion: it is None"),
        (Sent(site.forge, b"{}", [("reason", b"mine"), ("topic", b"\xff")]), "specversion: it is"),
        (structured(asks("8", type="rm -rf"), site.forge), "type: there is no command 'rm -rf'"),
        (structured(asks("8", subject="8"), site.forge), "subject: an id is"),
        (structured(asks("8", data={"tasks": 1}), site.forge), "data: turnstile.ticket.open: "),
        (binary(asks("8", patience="later"), site.forge), "patience: it is a number"),
        (structured(asks("8", id=7), site.forge), "id: no CloudEvent in JSON"),
        (structured(asks("8", type="?" * 100_000), site.forge), "type: there is no command '???"),
    ]
    async with site.serving("engine", "intake") as service:
        records = [bad._replace(partition=0) for bad, _ in rubbish]
        await site.send(*records, structured(asks("9"), site.forge, partition=0))
        await site.settled(service)
        assert OPENED == [event["type"] for event in await site.events()]
        for (sent, reason), letter in zip(rubbish, await site.dead(), strict=True):
            assert noted(letter, "reason").startswith(reason)
            assert 1000 >= len(noted(letter, "reason"))
            assert (site.forge, "0") == (noted(letter, "topic"), noted(letter, "partition"))
            assert noted(letter, "at").startswith("20")
            assert sent.key == letter.key()
            assert (sent.value or b"") == (letter.value() or b"")
            assert (sent.headers or []) == headers(letter)[:-5]


async def test_a_topic_that_may_not_ask_for_something_is_refused(site: Site) -> None:
    cancelling = asks("9", id="2", type="turnstile.ticket.cancel", data={})
    async with site.serving("engine", "intake") as service:
        await site.send(structured(asks("9"), site.forge))
        await site.settled(service)
        await site.send(structured(cancelling, site.archive))
        await site.settled(service)
        assert OPENED == [event["type"] for event in await site.events()]
        (letter,) = await site.dead()
        assert "type: archive may not ask for turnstile.ticket.cancel." == noted(letter, "reason")
        await site.send(structured(cancelling, site.forge))
        await site.settled(service)
        assert "turnstile.ticket.cancelled" == (await site.events())[-1]["type"]


# ----------------------------------------------------------------------------------------- sharing


async def test_nothing_is_lost_or_made_twice_when_one_of_two_is_killed(
    site: Site, tmp_path: Path
) -> None:
    config = msgspec.structs.replace(site.config, batch=10, log_level="info", log_format="json")
    requests = [(structured, binary)[n % 2](asks(str(n)), site.forge) for n in range(500)]
    tickets = {f"ticket/{n}" for n in range(500)}
    children: list[Child] = []
    async with site.serving("engine") as service:
        try:
            for name in ("a", "b"):
                own = msgspec.structs.replace(config, name=name)
                children.append(await Child.start("intake", own, tmp_path / f"{name}.log"))
            async with asyncio.timeout(PATIENCE):
                tickets |= await _until_both_share(site, children)
                sending = asyncio.create_task(site.send(*requests))
                before = len(children[0].said("requests_taken"))
                while len(children[0].said("requests_taken")) == before:
                    await asyncio.sleep(0.005)
            await children[0].kill()
            await sending
            await site.settled(service)
            assert 0 == await children[1].stop()
        finally:
            for child in children:
                await child.kill()
        count = Counter(event["subject"] for event in await site.events())
        assert dict.fromkeys(tickets, len(OPENED)) == count
        assert [] == await site.dead()


async def _until_both_share(site: Site, children: list[Child]) -> set[str]:
    """Ask for tickets, one in each partition, until both intakes have taken some."""
    await _said(children, "intake_started")
    tickets: set[str] = set()
    while not all(child.said("requests_taken") for child in children):
        names = [f"early-{len(tickets) + partition}" for partition in (0, 1)]
        await site.send(
            *(structured(asks(name), site.forge, partition=n) for n, name in enumerate(names))
        )
        tickets.update(f"ticket/{name}" for name in names)
    return tickets


async def _said(children: list[Child], event: str) -> None:
    while not all(child.said(event) for child in children):
        await asyncio.sleep(0.02)


# ------------------------------------------------------------------------------------ the command

TABLE = '{"forge.requests": {"actor": "forge", "may": ["turnstile.ticket.open"]}}'


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        ({"TURNSTILE_INTAKE": TABLE}, "TURNSTILE_KAFKA"),
        ({"TURNSTILE_KAFKA": "localhost:1"}, "TURNSTILE_INTAKE"),
    ],
)
def test_an_intake_needs_kafka_and_topics(settings: dict[str, str], lacking: str) -> None:
    ended = turnstile("intake", **settings)
    assert (78, "") == (ended.returncode, ended.stdout)
    assert f"turnstile: an intake needs {lacking}, and it is not set\n" == ended.stderr


def test_an_intake_without_its_brokers_ends_and_says_so() -> None:
    ended = turnstile("intake", TURNSTILE_INTAKE=TABLE, TURNSTILE_KAFKA="localhost:1")
    assert 69 == ended.returncode
    assert '"intake_failed"' in ended.stderr
