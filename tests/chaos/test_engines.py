"""Engines and their servers are killed, paused and restarted while tickets are worked on.

CHAOS_SECONDS makes it longer, CHAOS_SEED repeats a run's choices (not its timing), and with
CHAOS_BROKERS=3 Kafka is three nodes, of which one is struck after the other.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from adapters.asking import asking
from tests.chaos.checks import check, everything
from tests.chaos.engines import Engines
from tests.chaos.load import Load
from tests.chaos.sites import PARTITIONS, Site, site

pytestmark = [pytest.mark.service, pytest.mark.chaos]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "45"))
SEED = int(os.environ.get("CHAOS_SEED", "20260101"))
BROKERS = int(os.environ.get("CHAOS_BROKERS", "1"))
LEASE = 2.0
SNAPSHOT_EVERY = 10
"""Few enough that most takeovers begin at a snapshot."""

on_both_logs = pytest.mark.parametrize("log", ["postgres", "kafka"])


def engines(count: int, servers: Site, folder: Path) -> Engines:
    """Engines that say all that can be checked."""
    environment = {
        **servers.environment,
        "TURNSTILE_LEASE": str(LEASE),
        "TURNSTILE_LOG_LEVEL": "debug",
        "TURNSTILE_PARTITIONS": str(PARTITIONS),
        "TURNSTILE_SNAPSHOT_EVERY": str(SNAPSHOT_EVERY),
    }
    return Engines(count, environment, folder)


def projectors(servers: Site, folder: Path) -> Engines:
    """Who folds the archive, where it is not the log."""
    environment = {**servers.environment, "TURNSTILE_LEASE": str(LEASE)}
    return Engines(servers.projectors, environment, folder, "projector")


@pytest.fixture
def folder(reachable: Path, request: pytest.FixtureRequest) -> Path:
    """A directory of the test's own that servers reach."""
    folder = reachable / str(request.node.name)
    folder.mkdir()
    return folder


@on_both_logs
async def test_nothing_is_lost_or_repeated_whatever_is_killed(log: str, folder: Path) -> None:
    chance = random.Random(SEED)
    async with site(log, folder, BROKERS) as servers:
        async with servers.open() as view, asking(view) as asker:
            load = Load(asker, SEED)
            async with (
                engines(3, servers, folder) as some,
                projectors(servers, folder),
            ):
                working = asyncio.create_task(load.run(drivers=30))
                faults = await _break(servers, some, chance, SECONDS)
                load.stop()
                async with asyncio.timeout(60):
                    await working
                await some.stop()
            events = await everything(view)
        check(load, some, events)
        taken = some.said("taken_over")
        snapshots = [line for line in taken if line["snapshot"]]
        brought = len(some.said("brought_back"))
        assert snapshots, "no takeover began at a snapshot"
        assert brought, "no ticket came back to memory"
        print(
            f"{log}, seed {SEED}: {dict(faults)}, {some.starts} starts of engines, "
            f"{len(taken)} takeovers, {len(snapshots)} of them from snapshots, "
            f"tickets brought back {brought} times, "
            f"{len(load.streams)} tickets, {len(load.answers)} commands accepted, "
            f"{load.repeated} sent twice, {sum(map(len, events.values()))} events"
        )


async def _break(
    servers: Site, engines: Engines, chance: random.Random, seconds: float
) -> Counter[str]:
    """Break something every second or so, for so long."""
    faults: Counter[str] = Counter()
    kinds = ["kill"] * 4 + ["terminate"] * 3 + ["pause"] * 3 + list(servers.faults)
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
            case _:
                await servers.strike(kind, chance)
    await asyncio.gather(*paused)
    return faults


async def _pause(engines: Engines, name: str, length: float) -> None:
    engines.signal(name, signal.SIGSTOP)
    await asyncio.sleep(length)
    engines.signal(name, signal.SIGCONT)


@on_both_logs
async def test_an_engine_added_or_removed_under_load_loses_and_repeats_nothing(
    log: str, folder: Path
) -> None:
    async with site(log, folder, 1) as servers:
        async with servers.open() as view, asking(view) as asker:
            load = Load(asker, SEED)
            async with engines(1, servers, folder) as some:
                working = asyncio.create_task(load.run(drivers=10))
                await _accepted(load, 500)
                second = some.add()
                await _serves(some, second, PARTITIONS // 2)
                await _accepted(load, 500)
                await some.remove(some.names[0])
                await _serves(some, second, PARTITIONS)
                await _accepted(load, 500)
                load.stop()
                async with asyncio.timeout(60):
                    await working
                await some.stop()
            events = await everything(view)
        check(load, some, events)


async def _accepted(load: Load, more: int) -> None:
    """Until so many more commands are."""
    goal = len(load.answers) + more
    async with asyncio.timeout(60):
        while len(load.answers) < goal:
            await asyncio.sleep(0.02)


async def _serves(engines: Engines, name: str, partitions: int) -> None:
    """Until the engine serves so many."""
    async with asyncio.timeout(60):
        while True:
            lines = engines.said("taken_over", name), engines.said("released", name)
            if len(lines[0]) - len(lines[1]) == partitions:
                return
            await asyncio.sleep(0.05)
