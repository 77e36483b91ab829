"""The log's topics: made where they are missing, checked at every start, each with its genesis."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from adapters.codec import CodecError
from adapters.kafka.connection import FENCED, RETRY, Address, meaning, running, translated
from adapters.kafka.reading import first_behind
from adapters.kafka.records import CONTENT_TYPE, FORMAT, genesis, read_genesis
from adapters.log import Genesis, LogError, Unavailable, WrongLog

DAY: Final = 24 * 60 * 60 * 1000
SETTLED: Final = 20.0
"""Seconds for a new topic to be known everywhere."""

TOPICS: Final[Mapping[str, Mapping[str, str]]] = {
    "commands": {
        "cleanup.policy": "delete",
        "retention.ms": str(14 * DAY),
        "message.timestamp.type": "LogAppendTime",
    },
    "events": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
    "replies": {
        "cleanup.policy": "delete",
        "retention.ms": str(DAY),
        "message.timestamp.type": "LogAppendTime",
    },
    # What is put aside comes with headers, so it may be larger than what came in.
    "dead": {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(2 * 1024 * 1024),
    },
}
"""The log's topics, and what is asked of each; a longer retention is as good."""

log = structlog.get_logger()


async def prepare(
    address: Address,
    partitions: int | None,
    replication: int | None = None,
    *,
    create: bool = True,
    wanted: Mapping[str, Mapping[str, str]] = TOPICS,
) -> Sequence[Genesis]:
    """Make the topics where they are missing, and return what each partition says of itself.

    *wanted* may name more topics than those that every log has. New ones get so many
    *partitions*, else 8, and so many replicas, else three where the cluster has three brokers.

    Raises:
        WrongLog: a topic has another number of partitions, another retention or another cleanup
            policy than it must have; without *create* also if there is none.
        Unavailable: the cluster is away.
    """
    async with running(address.admin()) as admin:
        with translated():
            found = await _settled(admin, address, wanted)
            if create and len(found) < len(wanted):
                _check_truth(address, found)
                count = partitions or found.get("events") or 8
                missing = {name: wanted[name] for name in wanted if name not in found}
                # The events first: no log is without them, at any moment.
                for names in {"events"} & set(missing), set(missing) - {"events"}:
                    some = {name: missing[name] for name in names}
                    await _create(admin, address, some, count, replication)
                found = await _settled(admin, address, wanted, made=True)
            for name in wanted:
                if name not in found:
                    raise WrongLog(f"there is no topic {address.topic(name)!r}")
            count = _check_partitions(address, found, partitions)
            await _check_settings(admin, address, wanted)
    return await _geneses(address, count, create=create)


async def _settled(
    admin: Any, address: Address, wanted: Collection[str], *, made: bool = False
) -> dict[str, int]:
    """The number of partitions of each topic that is there.

    New ones are not known everywhere at once: where they have just been *made*, wait for all of
    them; and for leaders in any case. Raises LeaderNotAvailableError.
    """
    deadline = monotonic() + SETTLED
    while True:
        is_late = monotonic() > deadline
        try:
            found = await _described(admin, address, wanted)
        except LeaderNotAvailableError:
            if is_late:
                raise
        else:
            # Somebody else may have made them at the same time, with another number.
            if not made or is_late or (len(found) == len(wanted) and len({*found.values()}) == 1):
                return found
        await asyncio.sleep(0.05)


async def _described(admin: Any, address: Address, wanted: Collection[str]) -> dict[str, int]:
    names = {address.topic(name): name for name in wanted}
    found = {}
    for described in await admin.describe_topics(list(names)):
        topic, error = described["topic"], for_code(described["error_code"])
        if error is UnknownTopicOrPartitionError:
            continue
        if error is not NoError:
            raise error(f"the topic {topic!r}: {error.__name__}")
        if any(one["leader"] < 0 for one in described["partitions"]):
            raise LeaderNotAvailableError(f"the topic {topic!r} has a partition without a leader")
        found[names[topic]] = len(described["partitions"])
    return found


def _check_truth(address: Address, found: Mapping[str, int]) -> None:
    """Refuse to begin anew where a log has been."""
    if found and "events" not in found:
        others = ", ".join(repr(address.topic(name)) for name in found)
        raise WrongLog(
            f"there is no topic {address.topic('events')!r}, and there is {others}: the events "
            "were deleted. To begin a new log, delete these too"
        )


async def _create(
    admin: Any,
    address: Address,
    missing: Mapping[str, Mapping[str, str]],
    partitions: int,
    replication: int | None,
) -> None:
    if not missing:
        return
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = replication or min(3, brokers)
    common = {"min.insync.replicas": str(max(1, replicas - 1))}
    response = await admin.create_topics(
        [
            NewTopic(address.topic(name), partitions, replicas, topic_configs={**given, **common})
            for name, given in sorted(missing.items())
        ]
    )
    for topic, code, *reason in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise WrongLog(f"the topic {topic!r} cannot be made: {error.__name__} {reason}")
    log.info("topics_made", topics=sorted(missing), partitions=partitions, replicas=replicas)


def _check_partitions(address: Address, found: Mapping[str, int], wanted: int | None) -> int:
    count = found["events"]
    for name, partitions in found.items():
        if partitions != count:
            raise WrongLog(
                f"the topic {address.topic(name)!r} has {partitions} partitions and "
                f"{address.topic('events')!r} has {count}: they must have the same number"
            )
    if wanted is not None and wanted != count:
        raise WrongLog(f"the log has {count} partitions, for ever; {wanted} are configured")
    return count


async def _check_settings(
    admin: Any, address: Address, wanted: Mapping[str, Mapping[str, str]]
) -> None:
    expected = {address.topic(name): wanted[name] for name in wanted}
    for topic, there in (await _settings(admin, list(expected))).items():
        for setting, value in expected[topic].items():
            if not _will_do(setting, there[setting], value):
                raise WrongLog(
                    f"the topic {topic!r} has {setting}={there[setting]}, "
                    f"and must have {value}{_or_more(value)}"
                )


async def _settings(admin: Any, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """The settings of topics. A broker that has not heard of a new one is asked again."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    deadline = monotonic() + SETTLED
    while True:
        found: dict[str, Mapping[str, str]] = {}
        for response in await admin.describe_configs(resources):
            for code, reason, _, topic, entries in response.resources:
                if code == UnknownTopicOrPartitionError.errno and monotonic() < deadline:
                    continue
                if code:
                    raise Unavailable(
                        f"Kafka: the settings of {topic!r}: {for_code(code).__name__} {reason}"
                    )
                found[topic] = {entry[0]: entry[1] for entry in entries}
        if len(found) == len(topics):
            return found
        await asyncio.sleep(0.05)


def _will_do(setting: str, found: str, wanted: str) -> bool:
    if setting in ("retention.ms", "retention.bytes", "max.message.bytes"):
        least, there = int(wanted), int(found)
        return there == -1 or (least != -1 and there >= least)
    return found == wanted


def _or_more(wanted: str) -> str:
    return " or more" if wanted.isdecimal() else ""


async def _geneses(address: Address, partitions: int, *, create: bool) -> Sequence[Genesis]:
    """What each partition of events says of itself; said now where it has said nothing yet."""
    everyone = range(partitions)
    while True:
        async with running(address.glance()) as consumer:
            found = {n: await _genesis(consumer, address, n) for n in everyone}
        if None not in found.values():
            break
        if not create:
            raise WrongLog(f"the topic {address.topic('events')!r} is empty")
        await _write(address, partitions)
    for number, one in found.items():
        assert one is not None
        if one.format != FORMAT:
            raise WrongLog(f"the log has format {one.format}, and this version knows {FORMAT}")
        if one.partitions != partitions:
            raise WrongLog(
                f"partition {number} is one of {one.partitions} partitions, for ever, and the "
                f"topics have {partitions} now: a stream would be sought in the wrong one"
            )
    return [one for one in found.values() if one is not None]


async def _genesis(consumer: Any, address: Address, partition: int) -> Genesis | None:
    events = TopicPartition(address.topic("events"), partition)
    with translated():
        consumer.assign([events])
        first = await first_behind(consumer, events, 0)
    if first is None:
        return None
    try:
        return read_genesis(first.value)
    except CodecError as error:
        raise WrongLog(
            f"the first record of {events.topic!r}, partition {partition}, is no genesis: {error}"
        ) from error


async def _write(address: Address, partitions: int) -> None:
    """Write the genesis of every partition that has none, at once; whoever comes later fences.

    The producer's start ends what an earlier one was about; what it finds then is what there is.
    """
    producer = address.producer(
        enable_idempotence=True,
        transactional_id=f"{address.topics}-genesis",
        transaction_timeout_ms=10_000,
        retry_backoff_ms=RETRY,
    )
    topic = address.topic("events")
    try:
        async with running(producer), running(address.glance()) as consumer:
            missing = [n for n in range(partitions) if await _genesis(consumer, address, n) is None]
            if not missing:
                return
            now = datetime.now(UTC)
            with translated():
                await producer.begin_transaction()
                for n in missing:
                    one = Genesis(format=FORMAT, partitions=partitions, id=uuid4())
                    await producer.send_and_wait(
                        topic, genesis(one, now), partition=n, headers=CONTENT_TYPE
                    )
                await producer.commit_transaction()
    except LogError as error:
        if not isinstance(error.__cause__, FENCED):
            raise
    except KafkaError as error:
        raise meaning([error]) from error
