"""Engines and their database are killed, paused and restarted while tickets are worked on.

CHAOS_SECONDS makes it longer, CHAOS_SEED repeats a run's choices (not its timing).
"""

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.asking import asking
from adapters.codec import Codec
from adapters.log import Log
from adapters.postgres.connection import Address
from adapters.postgres.log import open_log
from adapters.postgres.server import Server, bundled
from domain.envelope import Recorded
from domain.event import CommandNoted
from domain.kinds import DECIDERS
from tests.chaos.engines import Engines
from tests.chaos.load import Load
from workers.partition import Partition

pytestmark = [pytest.mark.service, pytest.mark.chaos]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "20260101"))
LEASE = 2.0
PARTITIONS = 8


async def test_nothing_is_lost_or_repeated_whatever_is_killed(reachable: Path) -> None:
    chance = random.Random(SEED)
    logs = reachable / "chaos"
    logs.mkdir()
    async with bundled(reachable / "chaos-postgres") as server:
        environment = {
            "DATABASE_URL": server.dsn,
            "TURNSTILE_LEASE": str(LEASE),
            "TURNSTILE_LOG_LEVEL": "debug",
            "TURNSTILE_PARTITIONS": str(PARTITIONS),
        }
        codec = Codec(DECIDERS)
        address = Address(server.dsn)
        async with open_log(address, codec, partitions=PARTITIONS) as log, asking(log) as asker:
            load = Load(asker, SEED)
            async with Engines(3, environment, logs) as engines:
                working = asyncio.create_task(load.run(drivers=30))
                faults = await _break(server, engines, chance, SECONDS)
                load.stop()
                async with asyncio.timeout(30):
                    await working
                await engines.stop()
            events = {number: await _events(log, number) for number in range(PARTITIONS)}
        _check(load, engines, events)
        print(
            f"seed {SEED}: {dict(faults)}, {engines.starts} starts of engines, "
            f"{len(load.streams)} tickets, {len(load.answers)} commands accepted, "
            f"{load.repeated} sent twice, {sum(map(len, events.values()))} events"
        )


async def _break(
    server: Server, engines: Engines, chance: random.Random, seconds: float
) -> Counter[str]:
    """Break something every second or so, for so long."""
    faults: Counter[str] = Counter()
    kinds = ["kill"] * 4 + ["terminate"] * 3 + ["pause"] * 3 + ["restart postgres", "kill postgres"]
    paused: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        kind = chance.choice(kinds)
        faults[kind] += 1
        match kind:
            case "kill":
                engines.signal(engines.some(chance), signal.SIGKILL)
            case "terminate":
                engines.signal(engines.some(chance), signal.SIGTERM)
            case "pause":
                length = LEASE * chance.uniform(0.5, 2.5)
                paused.append(asyncio.create_task(_pause(engines, engines.some(chance), length)))
            case "kill postgres":
                with suppress(ProcessLookupError):
                    os.kill(server.pid, signal.SIGKILL)
                await server.wait()
                await server.start()
            case _:
                await server.restart()
    await asyncio.gather(*paused)
    return faults


async def _pause(engines: Engines, name: str, length: float) -> None:
    engines.signal(name, signal.SIGSTOP)
    await asyncio.sleep(length)
    engines.signal(name, signal.SIGCONT)


async def _events(log: Log, partition: int) -> list[Recorded]:
    events: list[Recorded] = []
    if end := await log.end(partition):
        async for page in log.follow(partition):  # raises Gap where a sequence is missing
            events += page
            if events[-1].sequence >= end:
                break
    return events


def _check(load: Load, engines: Engines, events: dict[int, list[Recorded]]) -> None:
    assert [] == engines.tracebacks()
    everything = [event for partition in events.values() for event in partition]
    assert len(everything) == len({event.id for event in everything}), "an event id twice"

    versions: dict[str, list[int]] = defaultdict(list)
    caused: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in everything:
        versions[event.originator_id].append(event.originator_version)
        caused[event.originator_id, str(event.causationid)].append(event.originator_version)
    for stream, found in versions.items():
        assert list(range(1, len(found) + 1)) == found, f"{stream} has a gap"
    for (stream, _), found in caused.items():
        assert list(range(found[0], found[-1] + 1)) == found, f"{stream}: a command decided twice"

    assert set(load.streams) == set(versions), "a ticket was lost, or came from nowhere"
    first = {str(event.causationid): event for event in reversed(everything)}
    for id_, answer in load.answers.items():
        fact = first.get(str(id_))
        assert fact is not None, f"the accepted command {id_} was lost"
        told = fact.event.version if isinstance(fact.event, CommandNoted) else 0
        assert answer.version == (told or fact.originator_version)

    states = {number: Partition(number, PARTITIONS, DECIDERS, Codec(DECIDERS)) for number in events}
    released = engines.said("released")
    compared = 0
    for number, partition in states.items():
        digests = {
            int(str(line["sequence"])): line["digest"]
            for line in released
            if line["partition"] == number and "digest" in line
        }
        for event in events[number]:
            partition.fold(event)
            if event.sequence in digests:
                assert digests[event.sequence] == partition.digest(), "an engine's state differs"
                compared += 1
        for one in partition.streams.values():
            assert not one.state.is_open, f"{one.id} has not ended"
        assert partition.sequence in digests, "no engine served the partition at the end"
    assert compared >= PARTITIONS
