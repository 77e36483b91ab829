"""What only Kafka's log promises: its topics, its fences, and what the broker refuses."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import structlog.testing
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.asking import asking
from adapters.kafka.connection import Address, running
from adapters.kafka.log import open_log
from adapters.kafka.topics import TOPICS
from adapters.log import Decided, Fenced, Rejected, Unavailable, WrongLog
from tests.contract.counter import CODEC, Count, asked, batch
from tests.contract.places import taken
from tests.contract.places_kafka import KafkaPlace
from tests.contract.recording import all_of
from tests.contract.test_engine import running as engine_running
from tests.contract.test_log import NOW, first, recovered, sequences
from tests.kafka_proxy import Api, commits, proxied
from tests.service.foreign_clients import Sent, send
from tests.service.strange_records import send_rubbish

pytestmark = pytest.mark.service


@pytest_asyncio.fixture
async def place(kafka: str) -> AsyncIterator[KafkaPlace]:
    async with proxied(kafka) as proxy:
        yield KafkaPlace(kafka, proxy)


@asynccontextmanager
async def admin_of(address: Address) -> AsyncIterator[Any]:
    async with running(address.admin()) as admin:
        yield admin


async def make(
    address: Address, partitions: int = 2, wrong: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """The log's topics as somebody else may have made them."""
    topics = {
        name: NewTopic(
            address.topic(name),
            partitions,
            1,
            topic_configs={**settings, **(wrong or {}).get(name, {})},
        )
        for name, settings in TOPICS.items()
    }
    async with admin_of(address) as admin:
        await admin.create_topics(list(topics.values()))


async def set_topic(address: Address, name: str, **settings: str) -> None:
    """Change settings of a topic of the log."""
    changed = {setting.replace("_", "."): value for setting, value in settings.items()}
    resource = ConfigResource(
        ConfigResourceType.TOPIC, address.topic(name), {**TOPICS[name], **changed}
    )
    async with admin_of(address) as admin:
        await admin.alter_configs([resource])


# ------------------------------------------------------------------------------------------ topics


async def test_topics_that_somebody_has_made_right_are_taken(place: KafkaPlace) -> None:
    await make(place.address, 3, {"commands": {"retention.ms": "-1"}})
    async with place.open() as log:
        assert 3 == log.partitions


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        ("events", "retention.ms", "604800000"),
        ("events", "retention.bytes", "1000000000"),
        ("events", "cleanup.policy", "compact"),
        ("commands", "retention.ms", "604800000"),
        ("commands", "cleanup.policy", "compact"),
        ("commands", "message.timestamp.type", "CreateTime"),
        ("replies", "message.timestamp.type", "CreateTime"),
        ("dead", "retention.ms", "1000"),
    ],
)
async def test_a_topic_that_would_lose_something_is_refused_by_name(
    place: KafkaPlace, topic: str, setting: str, value: str
) -> None:
    await make(place.address, wrong={topic: {setting: value}})
    with pytest.raises(WrongLog, match=rf"\.{topic}' has {setting}={value}, and must have"):
        async with place.open():
            pass


async def test_topics_with_different_numbers_of_partitions_are_refused(place: KafkaPlace) -> None:
    async with admin_of(place.address) as admin:
        events = place.address.topic("events")
        await admin.create_topics([NewTopic(events, 5, 1, topic_configs=dict(TOPICS["events"]))])
        while (await admin.describe_topics([events]))[0]["error_code"]:
            await asyncio.sleep(0.01)  # the broker has not heard of it yet
    async with place.open() as log:  # the others are made alike
        assert 5 == log.partitions
    async with admin_of(place.address) as admin:
        await admin.create_partitions({place.address.topic("commands"): NewPartitions(6)})
    with pytest.raises(WrongLog, match="must have the same number"):
        async with place.open():
            pass


async def test_partitions_added_to_every_topic_are_refused(place: KafkaPlace) -> None:
    """Each stream's home would be another one from then on."""
    async with place.open(2):
        pass
    async with admin_of(place.address) as admin:
        await admin.create_partitions(
            {place.address.topic(name): NewPartitions(4) for name in TOPICS}
        )
    with pytest.raises(WrongLog, match="is one of 2 partitions, for ever"):
        async with place.open():
            pass


async def test_a_topic_of_events_that_begins_with_something_else_is_refused(
    place: KafkaPlace,
) -> None:
    await make(place.address)
    async with running(place.address.producer()) as producer:
        await producer.send_and_wait(place.address.topic("events"), b"hello", partition=1)
    with pytest.raises(WrongLog, match="partition 1, is no genesis"):
        async with place.open():
            pass


async def test_a_lease_that_the_brokers_do_not_take_is_refused_clearly(
    place: KafkaPlace,
) -> None:
    opening = open_log(place.address, CODEC, partitions=1, lease=0.05)
    async with opening as log, log.join("a") as member:
        with pytest.raises(WrongLog, match=r"no lease of 0\.05 s"):
            await taken(member, 0)


# ------------------------------------------------------------------------------------------ commit


async def test_a_commit_whose_send_failed_is_no_commit(place: KafkaPlace) -> None:
    """aiokafka would commit the transaction all the same."""
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
        await set_topic(place.address, "events", max_message_bytes="100")
        with pytest.raises(Rejected, match="MessageSizeTooLarge"):
            await owner.commit(batch(asked(Count()), NOW, version=2, sequence=2, upto=2))
        with pytest.raises(Rejected):  # it is over
            await owner.commit(Decided(upto=2))
        await owner.release()
        await set_topic(place.address, "events")
        assert [1] == await sequences(log)
        successor = await taken(member, 0)
        assert [1] == await recovered(successor)
        await successor.release()


async def test_a_commit_whose_answer_is_lost_is_committed_once(place: KafkaPlace) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        with place.proxy.losing_responses(Api.END_TXN, when=commits) as lost:
            committing = asyncio.create_task(
                owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
            )
            await lost.arrived()
        await committing
        await owner.commit(batch(asked(Count()), NOW, version=2, sequence=2, upto=2))
        assert [1, 2] == await sequences(log)
        await owner.release()


async def test_two_processes_own_a_partition_by_the_same_transactional_id(
    place: KafkaPlace,
) -> None:
    """With one of its own, an owner of before could commit a position it had lost."""
    async with place.open(1) as log, place.open() as other:
        async with log.join("a") as a, other.join("b") as b:
            await log.send([asked(Count()) for _ in range(3)])
            owner = await taken(a, 0)
            await recovered(owner)
            successor = await taken(b, 0)
            await recovered(successor)
            with pytest.raises(Fenced):
                await owner.commit(Decided(upto=3))
            await successor.commit(Decided(upto=1))
            await successor.release()
            await owner.release()
        async with log.join("c") as c:
            last = await taken(c, 0)
            await recovered(last)
            assert [2, 3] == [one.position for one in await last.receive(9, 1)]
            await last.release()


async def test_what_was_sent_and_not_committed_is_never_read(place: KafkaPlace) -> None:
    """A killed owner's half transaction: no reader and no successor sees any of it."""
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
        with place.proxy.holding(Api.END_TXN, when=commits) as ending:
            half = asyncio.create_task(
                owner.commit(batch(asked(Count()), NOW, version=2, sequence=2, upto=2))
            )
            await ending.arrived()
            assert 1 == await log.end(0)
            await place.fence(0)
        with pytest.raises((Fenced, Unavailable)):
            await half
        await owner.release()
        successor = await taken(member, 0)
        assert [1] == await recovered(successor)
        await successor.commit(batch(asked(Count()), NOW, version=2, sequence=2, upto=2))
        assert [1, 2] == [event.sequence for event in await first(log.follow(0), 2)]
        await successor.release()


# ------------------------------------------------------------------------------------- membership


async def test_a_fenced_owner_does_not_take_its_partition_back_by_itself(
    place: KafkaPlace,
) -> None:
    async with place.open(1) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await recovered(owner)
        await place.fence(0)
        with pytest.raises(Fenced):
            await owner.commit(Decided(upto=0))
        with pytest.raises(Fenced, match="not granted"):
            await member.take(0)
        await owner.release()
        with place.proxy.holding(Api.JOIN_GROUP) as joining:
            while not joining.count:  # it has the group share out anew
                assert 0 not in await member.granted()
            with pytest.raises(Fenced, match="not granted"):
                await member.take(0)
        successor = await taken(member, 0)
        await successor.release()


async def test_an_engine_goes_on_while_the_group_is_shared_out_anew(place: KafkaPlace) -> None:
    with structlog.testing.capture_logs() as lines:
        async with place.open(4) as log, engine_running(log, "a") as engine, asking(log) as asker:
            commands = [asked(Count(), f"counter/{n}") for n in range(20)]
            for command in commands:
                await asker.ask(command)
            while len(engine.partitions) < 4:
                await asyncio.sleep(0.01)
            takes = [line for line in lines if line["event"] == "taken_over"]
            async with log.join("b") as b:
                while not await b.granted():
                    pass
                for command in commands:
                    await asker.ask(command)
        again = [line for line in lines if line["event"] == "taken_over"][len(takes) :]
        kept = [line for line in lines if line["event"] == "released"]
        assert len(again) <= 2, "more was taken over than had been given away"
        assert 4 <= len(kept) <= 6


# ---------------------------------------------------------------------------------------- records


async def test_what_aiokafka_cancels_of_its_own_ends_no_engine(
    place: KafkaPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so at times when a broker is away."""
    asked_for = AIOKafkaConsumer.getmany
    cancelled: list[Any] = []

    async def getmany(self: Any, *partitions: Any, **options: Any) -> Any:
        if self._group_id is not None and not cancelled:
            cancelled.append(self)
            raise asyncio.CancelledError
        return await asked_for(self, *partitions, **options)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", getmany)
    async with place.open(1) as log, asking(log) as asker, engine_running(log):
        assert (await asker.ask(asked(Count()))).refusal is None
    assert cancelled


async def test_offsets_that_no_owner_committed_are_not_believed(place: KafkaPlace) -> None:
    """Else whoever is in the group for a moment has commands forgotten."""
    command = asked(Count())
    async with place.open(1) as log, asking(log) as asker:
        await log.send([command])
        commands = TopicPartition(place.address.topic("commands"), 0)
        async with running(place.address.consumer(group_id=place.address.group)) as stranger:
            stranger.assign([commands])
            await stranger.commit({commands: 1})
        async with engine_running(log):
            assert (await asker.ask(asked(Count()))).refusal is None
            assert [1, 2] == [event.sequence for event in await all_of(log, 0, 2)]


async def test_commands_that_were_made_anew_are_refused(place: KafkaPlace) -> None:
    async with place.open(1) as log:
        async with asking(log) as asker, engine_running(log):
            for _ in range(3):
                await asker.ask(asked(Count()))
        async with admin_of(place.address) as admin:
            await admin.delete_topics([place.address.topic("commands")])
            await _gone(admin, place.address.topic("commands"))
    async with place.open() as log, log.join("a") as membership:
        owner = await taken(membership, 0)
        upto = [event.upto async for page in owner.history() for event in page][-1]
        with pytest.raises(WrongLog, match="was it made anew"):
            await owner.resume(upto)
        await owner.release()


async def test_a_log_whose_events_were_deleted_is_not_begun_anew(place: KafkaPlace) -> None:
    async with place.open(1):
        pass
    async with admin_of(place.address) as admin:
        await admin.delete_topics([place.address.topic("events")])
        await _gone(admin, place.address.topic("events"))
    with pytest.raises(WrongLog, match="the events were deleted"):
        async with place.open():
            pass


async def _gone(admin: Any, topic: str) -> None:
    while not (await admin.describe_topics([topic]))[0]["error_code"]:
        await asyncio.sleep(0.01)


async def test_a_record_that_cannot_be_read_stops_nobody(place: KafkaPlace) -> None:
    """Its header's name is no UTF-8, which aiokafka cannot read."""
    async with place.open(1) as log, asking(log) as asker, engine_running(log):
        assert (await asker.ask(asked(Count()))).refusal is None
        await send_rubbish(place.address, place.address.topic("commands"), b"bad")
        assert (await asker.ask(asked(Count()))).refusal is None
        [(_, reason)] = await place.dead_letters()
        assert "unreadable" in reason
        await send_rubbish(place.address, place.address.topic("replies"), b"bad")
        assert (await asker.ask(asked(Count()))).refusal is None


async def test_of_what_is_larger_than_a_dead_letter_a_part_is_kept(place: KafkaPlace) -> None:
    async with place.open(1) as log, asking(log) as asker, engine_running(log):
        large = Sent(place.address.topic("commands"), b"0" * 3_000_000, [("x", b"")], b"key", 0)
        compressed = {"message_max_bytes": 10_000_000, "compression_codec": "gzip"}
        await send(place.address.servers, [large], **compressed)
        assert (await asker.ask(asked(Count()))).refusal is None
        assert 1 == len(await place.dead_letters())


async def test_records_are_cloudevents_under_the_streams_key(place: KafkaPlace) -> None:
    command = asked(Count(3), "counter/7")
    async with place.open(1) as log, engine_running(log), asking(log) as asker:
        await asker.ask(command)
    topic = TopicPartition(place.address.topic("events"), 0)
    genesis, record = await place.records(topic)
    assert "turnstile.genesis" == msgspec.json.decode(genesis.value)["type"]
    assert b"counter/7" == record.key
    assert (("content-type", b"application/cloudevents+json"),) == record.headers
    event = msgspec.json.decode(record.value)
    assert {
        "specversion": "1.0",
        "source": "turnstile",
        "type": "test.counted",
        "subject": "counter/7",
        "version": 1,
        "sequence": 1,
        "upto": 1,
        "causationid": str(command.id),
        "actor": "a test",
        "data": {"n": 3},
    } == {name: value for name, value in event.items() if name not in ("id", "time")}


async def test_an_idle_engine_tells_the_group_how_far_it_is(place: KafkaPlace) -> None:
    """The offset is not needed for events; who watches the group's lag needs it."""
    async with place.open(1) as log, asking(log) as asker:
        async with engine_running(log):
            await asker.ask(asked(Count()))
        end = await log.inbox_end(0)
    async with admin_of(place.address) as admin:
        commands = TopicPartition(place.address.topic("commands"), 0)
        found = await admin.list_consumer_group_offsets(place.address.group, partitions=[commands])
    assert (end, "sequence=1") == (found[commands].offset, found[commands].metadata)


async def test_a_producer_that_is_over_for_good_is_made_anew(place: KafkaPlace) -> None:
    async with place.open(2) as log, engine_running(log), asking(log) as asker:
        assert 1 == (await asker.ask(asked(Count(), "counter/1"), 20)).version
        # As after a mistake of aiokafka's own: whatever it is given fails from now on.
        over = log._producer.current  # type: ignore[attr-defined] # of this adapter alone
        over._sender.sender_task.cancel()
        await asyncio.wait({over._sender.sender_task})
        assert 1 == (await asker.ask(asked(Count(), "counter/2"), 20)).version
        assert over is not log._producer.current  # type: ignore[attr-defined] # the same
