"""What an intake does when the log is away, others come and go, or a record is beyond it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.kafka.connection import running
from adapters.kafka.topics import TOPICS
from adapters.log import Log, Unavailable
from domain.envelope import Submitted
from tests.service.foreign_clients import Sent, structured
from tests.service.request_site import BODY, OPENED, PATIENCE, Site, asks, noted, of
from tests.service.strange_records import send_rubbish

pytestmark = pytest.mark.service


@pytest.fixture
def site(kafka: str) -> Site:
    return Site(kafka)


class Away:
    """The log, which at first does not answer: what was sent is there, or it is not."""

    def __init__(self, log: Log, times: int) -> None:
        self.partitions = log.partitions
        self.times = times
        self._log = log

    async def send(self, commands: Sequence[Submitted]) -> None:
        self.times -= 1
        if self.times % 2 or self.times < 0:
            await self._log.send(commands)
        if self.times >= 0:
            raise Unavailable("as the test wants it")


class Slow:
    """The log, which takes nothing until it is let."""

    def __init__(self, log: Log) -> None:
        self.partitions = log.partitions
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self._log = log

    async def send(self, commands: Sequence[Submitted]) -> None:
        self.asked.set()
        await self.let.wait()
        await self._log.send(commands)


async def test_nothing_is_lost_or_made_twice_while_the_log_is_away(site: Site) -> None:
    aways: list[Away] = []

    def away(log: Log) -> Away:
        aways.append(Away(log, 4))
        return aways[0]

    requests = [structured(asks(str(n)), site.forge) for n in range(10)]
    async with site.serving("engine") as service, site.serving("intake", log_of=away):
        await site.send(*requests, Sent(site.forge, b"rubbish"))
        await site.settled(service)
        events = await site.events()
        assert all(OPENED == [one["type"] for one in of(events, str(n))] for n in range(10))
        assert 1 == len(await site.dead())
        assert 0 > aways[0].times


async def test_what_was_not_sent_when_it_is_told_to_stop_is_taken_by_the_next(site: Site) -> None:
    async with site.serving("engine") as service:
        aways: list[Away] = []

        def away(log: Log) -> Away:
            aways.append(Away(log, 1_000_000))
            return aways[0]

        async with site.serving("intake", log_of=away):
            await site.send(structured(asks("9"), site.forge))
            async with asyncio.timeout(PATIENCE):
                while aways[0].times == 1_000_000:
                    await asyncio.sleep(0.005)
        assert 1 == await site.lag()
        async with site.serving("intake"):
            await site.settled(service)
        assert OPENED == [event["type"] for event in await site.events()]


async def test_who_has_lost_partitions_meanwhile_takes_nothing_from_who_has_them(
    site: Site,
) -> None:
    slow: list[Slow] = []

    def slowly(log: Log) -> Slow:
        slow.append(Slow(log))
        return slow[0]

    requests = [
        structured(asks(f"{partition}-{n}"), site.forge, partition=partition)
        for n in range(5)
        for partition in (0, 1)
    ]
    async with site.serving("engine") as service, site.serving():
        async with site.serving("intake"):  # so that the topics are there
            pass
        await site.send(*requests)
        async with site.serving("intake", log_of=slowly, name="slow"):
            await slow[0].asked.wait()
            async with site.serving("intake", name="quick"), asyncio.timeout(PATIENCE):
                while await site.lag() > 5:
                    await asyncio.sleep(0.02)
                slow[0].let.set()
                await site.settled(service)
                later = [structured(asks(f"later-{n}"), site.forge) for n in range(10)]
                await site.send(*later)
                await site.settled(service)
        events = await site.events()
        tickets = {
            request.key.decode().removeprefix("ticket/")
            for request in (*requests, *later)
            if request.key
        }
        assert 20 == len(tickets)
        assert all(OPENED == [one["type"] for one in of(events, ticket)] for ticket in tickets)


async def test_what_the_brokers_refuse_is_put_aside_and_stops_nobody(site: Site) -> None:
    large = {**BODY, "labels": {f"label-{n}": "x" * 8000 for n in range(8)}}
    async with site.serving("engine") as service:
        await _limit(site, site.address.topic("commands"), "20000")
        async with site.serving("intake"):
            requests = [asks(str(n), **({"data": large} if n == 4 else {})) for n in range(9)]
            await site.send(*(structured(one, site.forge, partition=0) for one in requests))
            await site.settled(service)
        events = await site.events()
        assert [[] if n == 4 else OPENED for n in range(9)] == [
            [one["type"] for one in of(events, str(n))] for n in range(9)
        ]
        (letter,) = await site.dead()
        assert (b"ticket/4", "4") == (letter.key(), noted(letter, "offset"))
        assert noted(letter, "reason").startswith("Kafka: ")


async def test_a_record_that_aiokafka_cannot_read_is_passed_over(site: Site) -> None:
    async with site.serving("engine", "intake") as service:
        await site.send(*(structured(asks(f"a{n}"), site.forge, partition=0) for n in range(3)))
        await send_rubbish(site.address, site.forge, b"good", b"bad", b"good")
        for topic in (site.forge, site.archive):
            await site.send(*(structured(asks(f"b{n}"), topic, partition=0) for n in range(3)))
        await site.settled(service)
        events = await site.events()
        for ticket in (f"{letter}{n}" for letter in "ab" for n in range(3)):
            assert OPENED == [one["type"] for one in of(events, ticket)]
        letters = [(noted(one, "offset"), one.key()) for one in await site.dead()]
        # What is behind it in the same batch cannot be read either; the topic has it still.
        assert [("3", b"good"), ("4", None), ("5", None)] == letters
        assert "value: it is unreadable" in noted((await site.dead())[1], "reason")


async def test_of_what_is_too_large_for_a_dead_letter_a_part_is_kept(site: Site) -> None:
    async with site.serving("engine", "intake") as service:
        large = Sent(site.forge, b"0" * 3_000_000, [("x", b"")], b"key", 0)
        await site.send(large, message_max_bytes=10_000_000, compression_codec="gzip")
        await site.send(structured(asks("9"), site.forge, partition=0))
        await site.settled(service)
        assert OPENED == [event["type"] for event in await site.events()]
        (letter,) = await site.dead()
        assert ("3000004", b"key") == (noted(letter, "cut"), letter.key())
        assert b"0" * 256 * 1024 == letter.value()


# ------------------------------------------------------------------------------------- the topics


async def test_missing_request_topics_are_made_and_the_others_left_as_they_are(site: Site) -> None:
    async with _admin(site) as admin:
        await admin.create_topics([NewTopic(site.forge, 3, 1)])
        async with site.serving("intake"):
            pass
        described = await admin.describe_topics([site.forge, site.archive])
        assert {site.forge: 3, site.archive: 2} == {
            one["topic"]: len(one["partitions"]) for one in described
        }
        settings = await _settings(admin, site.archive)
        assert ("delete", str(14 * 24 * 60 * 60 * 1000), "LogAppendTime") == tuple(
            settings[name] for name in ("cleanup.policy", "retention.ms", "message.timestamp.type")
        )


@asynccontextmanager
async def _admin(site: Site) -> AsyncIterator[Any]:
    async with running(site.address.admin()) as admin:
        yield admin


async def _settings(admin: Any, topic: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in response.resources[0][4]}


async def _limit(site: Site, topic: str, size: str) -> None:
    """Let the brokers take no larger batches there."""
    async with _admin(site) as admin:
        settings = {**TOPICS["commands"], "max.message.bytes": size}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])
        async with asyncio.timeout(PATIENCE):
            while (await _settings(admin, topic))["max.message.bytes"] != size:
                await asyncio.sleep(0.02)
