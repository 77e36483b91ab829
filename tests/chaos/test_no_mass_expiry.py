"""Whatever a service stands on is away for longer than a lease, and no runner loses an attempt."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain, cycle
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Final
from uuid import uuid4

import pytest

from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import TicketState
from domain.workflow import Run, Subject, TaskSpec, Timeouts
from tests.chaos.checks import everything
from tests.chaos.crews import RUNNER, Crews, crews
from tests.chaos.listening import Heard, listening
from tests.chaos.over_http import OverHttp, over_http
from tests.chaos.rules import Histories
from tests.chaos.sites import site

pytestmark = [pytest.mark.service, pytest.mark.chaos]

LEASE: Final = 6.0
"""Seconds: on a busy machine a beat may be late by some of them."""

AWAY: Final = 1.5 * LEASE
"""Seconds for which each is away."""

COUNTS = {"engine": 1, "projector": 1, "reactor": 1, "reaper": 1, "api": 1, RUNNER: 3}
SLOTS = 4
STARTED, LOST = "turnstile.ticket.task_started", "turnstile.ticket.lease_lost"

on_both_logs = pytest.mark.parametrize("log", ["postgres", "kafka"])


class Gates:
    """Tickets of one task, which goes on until its gate is opened; on one runner if that is said.

    None is tried again: to be lost once is to end otherwise.
    """

    def __init__(self, folder: Path, http: OverHttp, heard: Heard) -> None:
        self._folder = folder
        self._http = http
        self._heard = heard

    async def begin(self, *names: str, on: str | None = None) -> None:
        """Have them running."""
        await asyncio.gather(*(self._begin(name, on) for name in names))

    async def _begin(self, name: str, on: str | None) -> None:
        command = f"until [ -e {self._folder / name} ]; do sleep 0.1; done; echo through"
        task = TaskSpec(
            name="A",
            run=Run("shell", {"command": command}),
            requires={"worker": (on,)} if on else {},
            retries=0,
            timeouts=Timeouts(heartbeat=LEASE),
        )
        opening = c.Open(subject=Subject("commit", "tower", name, "c0ffee"), tasks=(task,))
        await self._http.ask(name, opening, uuid4())
        await self._heard.of(name, STARTED)

    def open(self, *names: str) -> None:
        """Let them end."""
        for name in names:
            (self._folder / name).touch()

    async def ended(self, *names: str) -> None:
        """Wait for their ends."""
        for name in names:
            await self._heard.of(name)


@asynccontextmanager
async def without_api(all_roles: Crews) -> AsyncIterator[None]:
    """A time in which nobody hears."""
    apis = all_roles.roles["api"]
    await apis.remove(*apis.names)
    try:
        yield
    finally:
        apis.add()


@on_both_logs
async def test_nobody_loses_an_attempt_because_the_service_was_away(
    log: str, reachable: Path
) -> None:
    folder = reachable / f"away-{log}"
    folder.mkdir()
    heard = Heard()
    async with (
        site(log, folder, 1) as servers,
        servers.open() as view,
        crews(servers, folder, COUNTS, SLOTS) as all_roles,
        listening(all_roles.url, heard),
        over_http(all_roles.url, all_roles.token) as http,
    ):
        gates = Gates(folder, http, heard)
        away: Mapping[str, AbstractAsyncContextManager[None]] = {
            "api": without_api(all_roles),
            **servers.away(),
        }
        runners = all_roles.roles[RUNNER]
        kept = [f"kept-{n}" for n in range(3)]
        meanwhile = [f"without-{one}" for one in away]
        *others, silent = runners.names  # what else it had would be lost with it
        for name, runner in zip((*kept, *meanwhile), cycle(others), strict=False):
            await gates.begin(name, on=runner)
        await gates.begin("silent", on=silent)
        for name, absence in zip(meanwhile, away.values(), strict=True):
            async with absence:
                gates.open(name)
                await asyncio.sleep(AWAY)  # no fact tells it: this is the time that is away
            await gates.ended(name)
        # Leases do run out again: whoever was not heard of since has been given its time.
        runners.signal(silent, SIGSTOP)
        await heard.of("silent", LOST)
        runners.signal(silent, SIGCONT)
        gates.open(*kept)
        await gates.ended(*kept, "silent")
        await all_roles.stop()
        events = await everything(view)
    histories = Histories(
        one
        for one in chain.from_iterable(events.values())
        if one.originator_id.startswith("ticket/")
    )
    lost = [ticket for ticket in histories.of if histories.found(ticket, e.LeaseLost)]
    assert ["silent"] == lost
    for ticket in kept + meanwhile:
        assert histories.state(ticket) is TicketState.PASSED, f"{ticket} has not passed"
    troubles = list(all_roles.troubles())
    assert not troubles, "\n\n".join(troubles)
