"""A site with request topics in the session's Kafka, and what can be asked and seen there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import TopicPartition
from confluent_kafka import Message

from adapters.asking import asking
from adapters.config import Config, Requests
from adapters.kafka.connection import Address, running
from adapters.log import Log
from domain.envelope import Submitted, partition_of
from domain.ticket.commands import Cancel
from tests.service import foreign_clients as foreign
from tests.service.foreign_clients import Sent
from tests.unit.given import opening
from workers.compose import Service, assemble

PATIENCE = 40.0
BODY = msgspec.to_builtins(opening("A"))
OPENED = ["turnstile.ticket.opened", "turnstile.ticket.tasks_ready"]
MAY_OPEN = ("turnstile.ticket.open", "turnstile.ticket.cancel")


def asks(ticket: str, **changed: Any) -> dict[str, Any]:
    """A CloudEvent that asks for a ticket."""
    return {
        "specversion": "1.0",
        "id": f"opening of {ticket}",
        "source": "/forge/hooks",
        "type": "turnstile.ticket.open",
        "subject": f"ticket/{ticket}",
        "data": BODY,
    } | changed


class Site:
    """A log of its own in the session's Kafka, with two request topics."""

    def __init__(self, kafka: str) -> None:
        name = f"t_{uuid4().hex[:12]}"
        self.servers = kafka
        self.forge, self.archive = f"{name}-forge", f"{name}-archive"
        self.config = Config(
            kafka=kafka,
            kafka_topics=name,
            kafka_replication=1,
            partitions=2,
            lease=1.0,
            intake={
                self.forge: Requests("forge", MAY_OPEN),
                self.archive: Requests("archive", ("turnstile.ticket.open",)),
            },
        )
        self.address = Address.of(self.config)

    @asynccontextmanager
    async def serving(
        self, *roles: str, log_of: Callable[[Log], Any] = lambda log: log, **changed: Any
    ) -> AsyncIterator[Service]:
        """The roles in this process, on the log or on what a test makes of it."""
        async with assemble(msgspec.structs.replace(self.config, **changed)) as service:
            service = msgspec.structs.replace(service, log=log_of(service.log))
            running = [getattr(service, role)() for role in roles]
            tasks = [asyncio.create_task(role.run()) for role in running]
            try:
                yield service
            finally:
                for role in running:
                    role.stop()
                await asyncio.gather(*tasks)

    async def send(self, *records: Sent, **settings: Any) -> None:
        await foreign.send(self.servers, records, **settings)

    async def settled(self, service: Service) -> None:
        """Wait until all requests are taken, and all that has come of them is decided."""
        async with asyncio.timeout(PATIENCE):
            while await self.lag():
                await asyncio.sleep(0.02)
        async with asking(service.log) as asker:
            for n in range(service.log.partitions):
                await asker.ask(_nothing(n, service.log.partitions), PATIENCE)

    async def lag(self) -> int:
        """How many requests are not taken yet."""
        async with (
            running(self.address.admin()) as admin,
            running(self.address.consumer()) as plain,
        ):
            described = await admin.describe_topics([self.forge, self.archive])
            partitions = [
                TopicPartition(topic["topic"], one["partition"])
                for topic in described
                for one in topic["partitions"]
            ]
            ends = await plain.end_offsets(partitions)
            done = await admin.list_consumer_group_offsets(f"{self.address.topics}.intake")
        return sum(
            end - max(0, done[one].offset if one in done else 0) for one, end in ends.items()
        )

    async def events(self) -> list[dict[str, Any]]:
        """The committed events of tickets, as another library reads them."""
        records = await foreign.read(self.servers, self.address.topic("events"))
        events = []
        for record in records:
            event = json.loads(record.value() or b"")
            if event["type"] != "turnstile.genesis":
                assert [("content-type", b"application/cloudevents+json")] == foreign.headers(
                    record
                )
                assert event["subject"].encode() == record.key()
                events.append(event)
        return events

    async def dead(self) -> list[Message]:
        """The dead letters, in the order of their offsets where they came from."""
        letters = await foreign.read(self.servers, self.address.topic("dead"))
        return sorted(letters, key=lambda letter: int(noted(letter, "offset")))


def noted(letter: Message, name: str) -> str:
    """What is noted beside a dead letter, whatever its sender has called its own headers."""
    return (dict(foreign.headers(letter))[name] or b"").decode()


def _nothing(partition: int, partitions: int) -> Submitted:
    """A command that changes nothing, for the end of a partition's inbox."""
    n = 0
    while partition_of(f"ticket/none-{n}", partitions) != partition:
        n += 1
    return Submitted(id=uuid4(), stream=f"ticket/none-{n}", command=Cancel(), actor="a test")


def of(events: list[dict[str, Any]], ticket: str) -> list[dict[str, Any]]:
    """A ticket's events, with no version missing or there twice."""
    found = [event for event in events if event["subject"] == f"ticket/{ticket}"]
    assert list(range(1, len(found) + 1)) == [event["version"] for event in found]
    return found
