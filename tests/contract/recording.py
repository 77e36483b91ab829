"""Applications of `eventsourcing` on a log of a place, and engines beside them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, StoredEvent

from adapters.asking import asking
from adapters.codec import Codec
from adapters.kafka.connection import Address as KafkaAddress
from adapters.log import Log
from adapters.postgres.connection import Address as PostgresAddress
from adapters.recorders import LogApplicationRecorder, LogFactory
from domain.envelope import Answer, Recorded, partition_of
from domain.event import Command
from domain.kinds import DECIDERS
from domain.stream import Stream
from domain.ticket import TICKETS
from tests.contract.places import PostgresPlace
from tests.contract.places_kafka import KafkaPlace
from tests.unit.given import CommandOf, Given, claim, lose, opening, passed, start, task
from workers.engine import Engine

CODEC: Final = Codec(DECIDERS)
LIFE: Final[tuple[Command | CommandOf, ...]] = (
    opening("A", task("B", "A")),
    claim("A"),
    start("A"),
    lose("A"),
    claim("A"),
    start("A"),
    passed("A"),
    claim("B"),
    claim("B"),  # asked again: accepted, and nothing more
    passed("B"),
)
"""A ticket from its opening to its end."""

Where = PostgresAddress | KafkaAddress
Site = PostgresPlace | KafkaPlace
"""A place whose log an application can be told of."""


def settings(
    where: Where, partitions: int = 1, more: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Of an application on the log there."""
    if isinstance(where, PostgresAddress):
        log = {
            "PERSISTENCE_MODULE": "adapters.postgres",
            "DATABASE_URL": where.dsn,
            "TURNSTILE_SCHEMA": where.schema,
        }
    else:
        log = {
            "PERSISTENCE_MODULE": "adapters.kafka",
            "TURNSTILE_KAFKA": where.servers,
            "TURNSTILE_KAFKA_TOPICS": where.topics,
        }
    return {
        **log,
        "MAPPER_TOPIC": "adapters.library:RecordMapper",
        "ORIGINATOR_ID_TYPE": "text",
        "TURNSTILE_PARTITIONS": str(partitions),
        **more,
    }


def application(where: Where, partitions: int = 1, **more: str) -> Application[str]:
    return Application[str](settings(where, partitions, more))


def factory(where: Where, partitions: int = 1, **more: str) -> LogFactory:
    made = InfrastructureFactory.construct(settings(where, partitions, more))
    assert isinstance(made, LogFactory)
    return made


@contextmanager
def recorder(where: Where, partitions: int = 1, **more: str) -> Iterator[LogApplicationRecorder]:
    with closing(factory(where, partitions, **more)) as made:
        yield made.application_recorder()


@asynccontextmanager
async def running(log: Log) -> AsyncIterator[None]:
    """An engine on the log."""
    engine = Engine("engine", log, DECIDERS, CODEC)
    serving = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        engine.stop()
        await serving


async def live(log: Log, stream: str, *facts: Command | CommandOf) -> None:
    """Have the engine decide all this, one after the other, and wait until it can be read."""
    shadow, answer = Given(stream=stream), Answer(UUID(int=0), 0)
    async with asking(log) as asker:
        for fact in facts:
            submitted = shadow.submit(fact, id=uuid4())
            shadow.record(shadow.decide(submitted), submitted)
            answer = await asker.ask(submitted)
            assert answer.refusal is None
    assert shadow.stream.version
    while answer.sequence > await log.end(answer.partition):
        pass  # a log need not show at once what it has acknowledged


async def all_of(log: Log, partition: int = 0, last: int = 0) -> list[Recorded]:
    """The events of a partition as other readers have them, up to sequence *last* at the least."""
    seen: list[Recorded] = []
    end = max(last, await log.end(partition))
    async with aclosing(log.follow(partition)) as pages:
        while len(seen) < end:
            seen += await anext(pages)
    return seen


def folded(events: Sequence[Recorded], stream: str, version: int) -> Stream:
    result = Stream(stream, TICKETS.initial())
    for recorded in events:
        if recorded.originator_id == stream and recorded.originator_version <= version:
            result.fold(TICKETS, recorded)
    return result


def example(stream: str, version: int = 1, topic: str = "topic", state: bytes = b"") -> StoredEvent:
    """An event of some other application."""
    return StoredEvent(stream, version, topic, state or f"{stream} {version}".encode())


def stream_in(partition: int, partitions: int) -> str:
    """The id of a stream that lives there."""
    n = 0
    while partition_of(f"example/{n}", partitions) != partition:
        n += 1
    return f"example/{n}"
