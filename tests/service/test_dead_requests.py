"""Dead letters that lie in Kafka: requests of foreign producers, and the index that finds all."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import structlog.testing
from aiokafka import TopicPartition

from adapters.config import Requests
from adapters.dead import DeadLetters, Letter, LetterFilter, NotInjectable
from adapters.kafka.connection import running
from adapters.kafka.dead import open_dead
from adapters.kafka.dead_reading import read_in
from adapters.kafka.dead_records import settles
from adapters.postgres.connection import Address, connect, open_pool
from adapters.postgres.letter_index import LetterIndex
from adapters.postgres.views.view import address_of
from adapters.requests import command_id
from tests.service.foreign_clients import Headers, Sent, binary, structured
from tests.service.request_site import OPENED, Site, asks, of
from tests.service.strange_records import send_rubbish
from workers.compose import Service

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is put aside here is put aside on purpose."""
    with structlog.testing.capture_logs():
        yield


class DeadSite(Site):
    """A site whose forge may ask for nothing at first, and the dead letters of its log."""

    def __init__(self, kafka: str, index: Address) -> None:
        super().__init__(kafka)
        self.index = address_of(index, "dead")
        self.strict = self.config.intake | {self.forge: Requests("forge", ())}

    def letters(self, service: Service) -> AbstractAsyncContextManager[DeadLetters]:
        return open_dead(self.address, self.index, service.log, service.codec)

    async def put_aside(self, *records: Sent, **settings: Any) -> None:
        """Have requests refused."""
        async with self.serving("engine", "intake", intake=self.strict) as service:
            await self.send(*records, **settings)
            await self.settled(service)


@pytest.fixture
def site(kafka: str, address: Address) -> DeadSite:
    return DeadSite(kafka, address)


async def listed(letters: DeadLetters, *, settled: bool = False) -> list[Letter]:
    return list((await letters.page(LetterFilter(settled=settled))).rows)


@pytest.mark.parametrize("mode", [structured, binary])
async def test_a_request_that_was_put_aside_is_injected_under_the_rules_of_its_topic(
    site: DeadSite, mode: Any
) -> None:
    await site.put_aside(mode(asks("9", actor="alice"), site.forge, partition=1))
    async with site.serving("engine", "intake") as service, site.letters(service) as letters:
        [letter] = await listed(letters)
        assert ("request", site.forge, 1, 0) == (
            letter.kind,
            letter.topic,
            letter.partition,
            letter.position,
        )
        assert ("ticket/9", "turnstile.ticket.open", "alice") == (
            letter.stream,
            letter.type,
            letter.actor,
        )
        assert str(command_id("/forge/hooks", "opening of 9")) == letter.command
        assert "forge may not ask for turnstile.ticket.open" in letter.reason
        await letters.inject(letter.id, "bob")
        await site.settled(service)
        events = of(await site.events(), "9")
        assert OPENED == [event["type"] for event in events]
        assert {"forge:alice"} == {event["actor"] for event in events}
        assert {letter.command} == {event["causationid"] for event in events}
        assert [] == await listed(letters)


async def test_a_request_that_is_refused_again_is_a_new_letter(site: DeadSite) -> None:
    await site.put_aside(structured(asks("9"), site.forge))
    strict = site.serving("engine", "intake", intake=site.strict)
    async with strict as service, site.letters(service) as letters:
        [before] = await listed(letters)
        await letters.inject(before.id, "bob")
        await site.settled(service)
        [after] = await listed(letters)
        assert (before.id, before.position) != (after.id, after.position)
        assert before.command == after.command


async def test_a_request_in_binary_mode_is_shown_with_its_headers(site: DeadSite) -> None:
    request = binary(asks("9"), site.forge)
    await site.put_aside(request)
    async with site.serving() as service, site.letters(service) as letters:
        [letter] = await listed(letters)
        shown = await letters.show(letter.id)
        headers = {header.name: header.value for header in shown.headers}
        assert "turnstile.ticket.open" == headers["ce_type"]
        assert "reason" not in headers
        assert request.value == (shown.content.text or "").encode()


async def test_a_request_of_which_a_part_was_kept_is_not_injected(site: DeadSite) -> None:
    large = Sent(site.forge, b"0" * 3_000_000, [("x", b"")], b"key", 0)
    compressed = {"message_max_bytes": 10_000_000, "compression_codec": "gzip"}
    await site.put_aside(large, **compressed)
    async with site.serving() as service, site.letters(service) as letters:
        [letter] = await listed(letters)
        assert 3_000_000 < letter.size
        assert (await letters.show(letter.id)).content.cut
        with pytest.raises(NotInjectable, match="only a part of it was kept"):
            await letters.inject(letter.id, "bob")


async def test_a_request_that_could_not_be_read_is_listed_and_not_injected(
    site: DeadSite,
) -> None:
    async with site.serving("intake") as service, site.letters(service) as letters:
        await send_rubbish(site.address, site.forge, b"bad")
        async with asyncio.timeout(30):
            while not (found := await listed(letters)):
                await asyncio.sleep(0.05)
        assert "unreadable" in found[0].reason
        with pytest.raises(NotInjectable, match="nothing of it was kept"):
            await letters.inject(found[0].id, "bob")


async def test_no_letter_is_injected_into_a_topic_of_the_log_or_one_that_is_not_there(
    site: DeadSite,
) -> None:
    async with site.serving() as service, site.letters(service) as letters:
        for topic in (site.address.topic("events"), f"{site.forge}-gone"):
            ours = [("reason", b"x"), ("topic", topic.encode()), ("partition", b"0")]
            headers: Headers = [*ours, ("offset", b"0"), ("at", b"x")]
            await site.send(Sent(site.address.topic("dead"), b"x", headers, None, 0))
        for letter, reason in zip(
            await listed(letters), ("there is no topic", "a topic of the log itself"), strict=True
        ):
            with pytest.raises(NotInjectable, match=reason):
                await letters.inject(letter.id, "bob")


async def test_what_nobody_of_ours_wrote_is_listed_and_harms_nothing(site: DeadSite) -> None:
    dead = site.address.topic("dead")
    async with site.serving() as service, site.letters(service) as letters:
        await site.send(
            Sent(dead, b"rubbish", None, None, 0),
            Sent(dead, None, settles(4711, "dropped", "x", None), b"key", 0),  # type: ignore[arg-type]
            Sent(dead, b"", [("settles", b"many"), ("how", b"somehow")], None, 0),
        )
        await send_rubbish(site.address, dead, b"good", b"bad")
        await site.send(Sent(dead, b"more", [("reason", b"a\0\xff")], None, 0))
        found = {letter.id: letter.reason for letter in await listed(letters)}
        assert "it says no reason" == found["0-0"]
        assert "unreadable" in found["0-4"]
        assert "a\\0\N{REPLACEMENT CHARACTER}" == found["0-5"]
        assert found.keys() == {"0-0", "0-3", "0-4", "0-5"}
        assert (await letters.show("0-4")).content.text is None
        for id_ in found:
            assert id_ == (await letters.drop(id_, "bob")).id
        assert [] == await listed(letters)


async def test_an_index_that_is_made_anew_says_the_same(site: DeadSite) -> None:
    await site.put_aside(*(structured(asks(str(n)), site.forge) for n in range(5)))
    async with site.serving("engine", "intake") as service:
        async with site.letters(service) as letters:
            for letter in (await listed(letters))[1:3]:
                await letters.drop(letter.id, "bob", "it is old")
            before = await listed(letters), await listed(letters, settled=True)
        await dropped(site.index)
        async with site.letters(service) as letters:
            assert before == (await listed(letters), await listed(letters, settled=True))


async def dropped(index: Address) -> None:
    connection = await connect(index)
    await connection.execute(f'DROP SCHEMA "{index.schema}" CASCADE')
    await connection.close()


async def test_processes_that_read_at_the_same_time_enter_each_letter_once(
    site: DeadSite,
) -> None:
    dead = site.address.topic("dead")
    async with (
        site.serving() as service,
        site.letters(service) as one,
        site.letters(service) as other,
    ):
        await site.send(*(Sent(dead, b"%d" % n, None, None, n % 2) for n in range(2_000)))
        assert [[1000, 1000]] * 2 == [
            list(each) for each in await asyncio.gather(one.count(), other.count())
        ]


async def test_who_is_overtaken_goes_on_where_the_other_has_come_to(site: DeadSite) -> None:
    dead = site.address.topic("dead")
    topics = [TopicPartition(dead, n) for n in range(2)]
    async with site.serving() as service, site.letters(service) as letters:
        await site.send(*(Sent(dead, b"%d" % n, None, None, n % 2) for n in range(2_000)))
        async with (
            open_pool(site.index, 1) as pool,
            running(site.address.glance()) as consumer,
        ):
            await read_in(consumer, topics, Overtaken(pool))
            assert {0: 1000, 1: 1000} == await LetterIndex(pool).read_to()
        assert [1000, 1000] == list(await letters.count())


class Overtaken(LetterIndex):
    """An index into which somebody else always enters a part of the page first."""

    async def enter(
        self, partition: int, start: int, end: int, letters: Any, settlings: Any
    ) -> bool:
        if end - start > 1:
            half = len(letters) // 2
            await super().enter(partition, start, start + half, letters[:half], settlings)
        return await super().enter(partition, start, end, letters, settlings)


async def test_the_first_that_settles_a_letter_counts_whenever_it_is_read(site: DeadSite) -> None:
    dead = site.address.topic("dead")
    alice, bob = (
        Sent(dead, b"", list(settles(0, "dropped", name, None)), None, 0)
        for name in ("alice", "bob")
    )
    async with site.serving() as service, site.letters(service) as letters:
        await site.send(Sent(dead, b"rubbish", None, None, 0), alice)
        [settled] = await listed(letters, settled=True)
        await site.send(bob)
        assert [settled] == await listed(letters, settled=True)
        assert settled.settled is not None
        assert "alice" == settled.settled.by


async def test_a_dead_topic_that_was_made_anew_is_read_anew(site: DeadSite) -> None:
    await site.put_aside(*(structured(asks(str(n)), site.forge) for n in range(5)))
    async with site.serving() as service, site.letters(service) as letters:
        assert 5 == sum(await letters.count())
        async with running(site.address.admin()) as admin:
            await admin.delete_topics([site.address.topic("dead")])
            while site.address.topic("dead") in await admin.list_topics():
                await asyncio.sleep(0.02)
    async with site.serving() as service, site.letters(service) as letters:
        assert 0 == sum(await letters.count())
