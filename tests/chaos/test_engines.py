"""Every role and its servers are killed, paused and restarted while tickets are worked on.

CHAOS_SECONDS makes it longer, CHAOS_SEED repeats a run's choices (not its timing), and with
CHAOS_BROKERS=3 Kafka is three nodes, of which one is struck after the other. What the processes
said is kept in CHAOS_LOGS, if that names a directory.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path

import pytest
from msgspec import Struct

from adapters.asking import Asker, asking
from adapters.client import Client
from adapters.log import Log
from tests.chaos.breaking import KILLS, Breaking
from tests.chaos.checks import Events, check, everything
from tests.chaos.crews import Crews, crews, processes
from tests.chaos.listening import Heard, coming_again, listening
from tests.chaos.lives import Lives
from tests.chaos.load import Load
from tests.chaos.over_http import over_http
from tests.chaos.processes import Processes
from tests.chaos.progress import finished, until
from tests.chaos.rules import Histories, check_rules
from tests.chaos.sites import PARTITIONS, Site, site
from tests.chaos.views import Views

pytestmark = [pytest.mark.service, pytest.mark.chaos]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "20260101"))
BROKERS = int(os.environ.get("CHAOS_BROKERS", "1"))
DRIVERS = 30

on_both_logs = pytest.mark.parametrize("log", ["postgres", "kafka"])


@pytest.fixture
def folder(reachable: Path, request: pytest.FixtureRequest) -> Path:
    """A directory of the test's own that servers reach."""
    folder = reachable / str(request.node.name)
    folder.mkdir()
    return folder


class Scene(Struct):
    """Everything at work, and who works with it."""

    crews: Crews
    log: Log
    asker: Asker
    load: Load
    lives: Lives
    heard: Heard
    again: Heard
    """What clients heard who came one after the other."""

    @property
    def moving(self) -> object:
        """What changes as long as anything moves."""
        http = self.load.http
        done = len(self.load.answers), len(http.accepted) if http else 0
        return *done, self.heard.count, sorted(self.heard.awaited)[:9]


@asynccontextmanager
async def scene(servers: Site, folder: Path) -> AsyncIterator[Scene]:
    """Everything at work, from before the first ticket."""
    async with servers.open() as log, asking(log) as asker, crews(servers, folder) as all_roles:
        heard, again = Heard(), Heard()
        chance = random.Random(SEED)
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            await enter(listening(all_roles.url, heard))
            await enter(coming_again(all_roles.url, again, chance))
            load = Load(asker, SEED, await enter(over_http(all_roles.url, all_roles.token)))
            lives = Lives(load, heard)
            yield Scene(all_roles, log, asker, load, lives, heard, again)
        await all_roles.stop()


@on_both_logs
async def test_nothing_is_lost_or_repeated_whatever_is_killed(log: str, folder: Path) -> None:
    async with site(log, folder, BROKERS) as servers:
        async with scene(servers, folder) as at_work:
            views = Views(at_work.log, servers.database, has_archive=servers.has_archive)
            breaking = Breaking(servers, at_work.crews, random.Random(SEED))
            working = asyncio.create_task(at_work.load.run(DRIVERS, at_work.lives.drive))
            broken = asyncio.create_task(breaking.run(SECONDS))
            await asyncio.wait({working, broken}, return_when=asyncio.FIRST_COMPLETED)
            assert not working.done(), working.result()
            await broken
            at_work.load.stop()
            await finished(working, lambda: at_work.moving)
            await views.settled(at_work.asker)
            events = await everything(at_work.log)
            await _all_is_heard(at_work, events)
            async with Client(at_work.crews.url, at_work.crews.token) as client:
                assert [] == [letter async for letter in client.dead_letters()]
        await views.check(events)
    troubles = list(at_work.crews.troubles())
    assert not troubles, "\n\n".join(troubles)
    check(at_work.load, at_work.crews.engines, events)
    check_rules(Histories(chain.from_iterable(events.values())), at_work.lives)
    at_work.heard.check(events)
    at_work.again.check(events)
    for role in at_work.crews.roles:
        assert breaking.faults["kill", role] >= KILLS, f"no {role} was killed often enough"
        assert at_work.crews.begun(role) > KILLS, f"no {role} came back often enough"
    _tell(log, at_work, breaking, events)


async def _all_is_heard(at_work: Scene, events: Events) -> None:
    """Until both streams have told as much as there is; whether it is that, is checked later."""
    count = sum(map(len, events.values()))
    heard, again = at_work.heard, at_work.again
    await until(
        lambda: heard.count >= count and again.count >= count,
        lambda: (heard.count, again.count, count),
    )


def _tell(log: str, at_work: Scene, breaking: Breaking, events: Events) -> None:
    """What was broken, and what came of it."""
    load, lives, engines = at_work.load, at_work.lives, at_work.crews.engines
    taken = engines.said("taken_over")
    snapshots = [line for line in taken if line["snapshot"]]
    brought = len(engines.said("brought_back"))
    assert snapshots, "no takeover began at a snapshot"
    assert brought, "no ticket came back to memory"
    assert load.http is not None
    starts = ", ".join(f"{role} {crew.starts}" for role, crew in at_work.crews.roles.items())
    print(
        f"\n{log}, seed {SEED}\n  faults: {breaking.told()}\n  starts: {starts}\n"
        f"  {len(taken)} takeovers, {len(snapshots)} of them from snapshots, "
        f"tickets brought back {brought} times\n"
        f"  {len(load.streams)} tickets ({len(lives.superseded)} rivals superseded, "
        f"{len(lives.expired)} expired, {len(lives.out_of_time)} out of time), "
        f"{len(load.answers)} commands accepted by the log and {len(load.http.accepted)} "
        f"over HTTP, {load.repeated} sent twice\n"
        f"  {sum(map(len, events.values()))} events, {at_work.heard.count} changes over "
        f"{at_work.heard.connections} connections, {at_work.again.count} to "
        f"{at_work.again.connections} clients one after the other"
    )


@on_both_logs
async def test_an_engine_added_or_removed_under_load_loses_and_repeats_nothing(
    log: str, folder: Path
) -> None:
    async with site(log, folder, 1) as servers:
        async with servers.open() as view, asking(view) as asker, AsyncExitStack() as stack:
            load = Load(asker, SEED)
            if servers.has_archive:
                await stack.enter_async_context(processes("projector", 1, servers, folder))
            async with processes("engine", 1, servers, folder) as some:
                working = asyncio.create_task(load.run(10, Lives(load).drive))
                await _accepted(load, 500)
                second = some.add()
                await _serves(some, second, PARTITIONS // 2)
                await _accepted(load, 500)
                await some.remove(some.names[0])
                await _serves(some, second, PARTITIONS)
                await _accepted(load, 500)
                load.stop()
                await finished(working, lambda: len(load.answers))
                await some.stop()
            events = await everything(view)
        check(load, some, events)


async def _accepted(load: Load, more: int) -> None:
    """Until so many more commands are."""
    goal = len(load.answers) + more
    await until(lambda: len(load.answers) >= goal, lambda: len(load.answers))


async def _serves(engines: Processes, name: str, partitions: int) -> None:
    """Until the engine serves so many."""

    def serving() -> int:
        return len(engines.said("taken_over", name)) - len(engines.said("released", name))

    await until(lambda: serving() == partitions, serving)
