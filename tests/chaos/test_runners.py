"""Real tasks on four runners, while whoever has a part in it is killed again and again.

CHAOS_TICKETS and CHAOS_FAULTS make it longer, CHAOS_SEED repeats a run's choices (not its timing).
What the processes said is kept in CHAOS_LOGS, if that names a directory.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from msgspec import Struct

from adapters.asking import Asker, asking
from adapters.client import Client
from adapters.execution.marks import HOME
from adapters.log import Log
from tests.chaos.attempts import check_attempts, last_ones, lost
from tests.chaos.checks import every_state_is_the_fold, everything, nothing_is_repeated
from tests.chaos.crews import RUNNER, Crews, crews
from tests.chaos.faults import KINDS, Faults
from tests.chaos.listening import Heard, listening
from tests.chaos.over_http import OverHttp, over_http
from tests.chaos.progress import until
from tests.chaos.rules import Histories
from tests.chaos.sites import Site, site
from tests.chaos.views import Views
from tests.chaos.workflows import Ticket, some

pytestmark = [pytest.mark.service, pytest.mark.chaos]

TICKETS = int(os.environ.get("CHAOS_TICKETS", "150"))
FAULTS = int(os.environ.get("CHAOS_FAULTS", "8"))
SEED = int(os.environ.get("CHAOS_SEED", "20260101"))

COUNTS = {"engine": 2, "projector": 1, "reactor": 1, "reaper": 1, "api": 1, RUNNER: 4}
SLOTS = 4
AT_ONCE = 60
"""Tickets that are open at the same time."""

LAST = 30
"""Tickets that have not ended when the last fault comes."""

SOON = 30.0
"""Seconds after the last fault within which every ticket ends."""

on_both_logs = pytest.mark.parametrize("log", ["postgres", "kafka"])


@pytest.fixture
def folder(reachable: Path, request: pytest.FixtureRequest) -> Path:
    """A directory of the test's own that servers reach."""
    folder = reachable / f"runners-{request.node.callspec.id}"
    folder.mkdir()
    return folder


class Scene(Struct):
    """Everything at work, and who opens tickets and hears of their ends."""

    crews: Crews
    log: Log
    asker: Asker
    http: OverHttp
    heard: Heard
    client: Client


@asynccontextmanager
async def scene(servers: Site, folder: Path) -> AsyncIterator[Scene]:
    """Everything at work, from before the first ticket."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        log = await enter(servers.open())
        asker = await enter(asking(log))
        all_roles = await enter(crews(servers, folder, COUNTS, SLOTS))
        heard = Heard()
        await enter(listening(all_roles.url, heard))
        http = await enter(over_http(all_roles.url, all_roles.token))
        client = await enter(Client(all_roles.url, all_roles.token))
        yield Scene(all_roles, log, asker, http, heard, client)


class Work:
    """Opens tickets, not too many at once, and waits for their ends."""

    def __init__(self, at_work: Scene, tickets: Sequence[Ticket], chance: random.Random) -> None:
        self.ended = 0
        self._at_work = at_work
        self._tickets = tickets
        self._chance = chance
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Until the last has ended."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(ticket: Ticket) -> None:
            async with turn:
                key = UUID(int=self._chance.getrandbits(128), version=4)
                await self._at_work.http.ask(ticket.name, ticket.opening(), key)
                await self._at_work.heard.of(ticket.name)
            async with self._moved:
                self.ended += 1
                self._moved.notify_all()

        await asyncio.gather(*map(one, self._tickets))

    async def come_to(self, ended: int) -> None:
        """Wait until so many have ended."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.ended >= ended)


@on_both_logs
async def test_whoever_is_killed_every_ticket_comes_to_what_its_tasks_say(
    log: str, folder: Path
) -> None:
    chance = random.Random(SEED)
    tickets = [some(f"t-{n}", chance) for n in range(TICKETS)]
    print(f"\n{log}, seed {SEED}: {TICKETS} tickets, {FAULTS} faults")
    async with site(log, folder, 1) as servers:
        async with scene(servers, folder) as at_work:
            views = Views(at_work.log, servers.database, has_archive=servers.has_archive)
            faults = Faults(at_work.crews, chance, FAULTS)
            work = Work(at_work, tickets, chance)
            working = asyncio.create_task(work.run())
            breaking = asyncio.create_task(
                # Each of them while tickets are worked on.
                faults.run(lambda n: work.come_to((TICKETS - LAST) * n // max(1, FAULTS - 1)))
            )
            await until(breaking.done, lambda: (work.ended, at_work.heard.count))
            await breaking
            seconds = await _ended_soon(working, at_work)
            await _nothing_runs(at_work.crews)
            await views.settled(at_work.asker)
            assert [] == await views.leases()
            histories = Histories(
                one
                for one in chain.from_iterable((await everything(at_work.log)).values())
                if one.originator_id.startswith("ticket/")
            )
            await _logs_are_whole(at_work.client, histories, tickets)
            assert [] == [letter async for letter in at_work.client.dead_letters()]
            await at_work.crews.stop()
            await _nothing_runs(at_work.crews)
            events = await everything(at_work.log)
        await views.check(events)
    troubles = list(at_work.crews.troubles())
    assert not troubles, "\n\n".join(troubles)
    nothing_is_repeated(events)
    every_state_is_the_fold(at_work.crews.engines, events)
    check_attempts(histories, tickets)
    for home in at_work.crews.homes:
        left = [*(home / "reports").iterdir(), *(home / "work").iterdir()]
        assert [] == left, "a runner has left something"
    if len(KINDS) <= FAULTS:
        assert set(KINDS) == set(faults.struck)
    print(
        f"  faults: {faults.told()}\n  all ended {seconds:.1f} s after the last, "
        f"{sum(map(len, events.values()))} events\n  attempts lost: {dict(lost(histories))}"
    )


async def _ended_soon(working: "asyncio.Task[None]", at_work: Scene) -> float:
    """How many seconds it took until every ticket had ended."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(SOON):
            await working
    except TimeoutError:
        raise AssertionError(f"not ended: {sorted(at_work.heard.awaited)}") from None
    return loop.time() - began


async def _nothing_runs(all_roles: Crews) -> None:
    """What runners have started is gone, as the kernel sees it."""
    homes = {(home / "id").read_text().strip() for home in all_roles.homes}
    assert COUNTS[RUNNER] == len(homes)
    await until(lambda: not _marked(homes), lambda: None)


def _marked(homes: set[str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(HOME) in homes:
                found.append(process)
        except (psutil.Error, OSError):  # it has ended, or is another user's
            continue
    return found


async def _logs_are_whole(client: Client, histories: Histories, tickets: Sequence[Ticket]) -> None:
    """Every task that has ended by itself has said all of it, once and in its order."""
    for ticket in tickets:
        for end in last_ones(histories, ticket):
            said = b"".join([piece async for piece in client.log(ticket.name, end.token)])
            whole = b"=== step 1 of 1: command ===\n" + ticket.said(end.task) + b"=== command: "
            assert said.startswith(whole), f"{ticket.name}, {end.task}: {said!r}"
            assert said.count(b"=== command: ") == 1, f"{ticket.name}, {end.task}: {said!r}"
