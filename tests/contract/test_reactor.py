"""What reactors promise on every log: each policy's rule comes true, once, whatever happens.

What does not depend on the log is tried on one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from random import Random
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing

from adapters.asking import Asker, asking
from adapters.log import Log
from adapters.postgres.connection import Address, close, connect
from adapters.postgres.views.reactor import open_reactor
from adapters.postgres.views.view import PostgresView, address_of
from domain.envelope import Submitted, partition_of
from domain.event import CommandNoted
from domain.ticket import commands as c
from domain.ticket.automata import OPEN, TICKET, TicketState
from domain.ticket.events import TicketCancelled, TicketSuperseded
from domain.ticket.words import Outcome, Precedence, Scope
from tests.contract.places import Place
from tests.contract.test_projector import CODEC, ask, engine_on, genesis_of, log_of, seen
from tests.unit.given import opening
from workers.reactor import Reactor
from workers.watchdog import Watchdog

pytestmark = pytest.mark.service

LEASE = 0.6
K = TicketState


async def known(log: Log, address: Address) -> PostgresView:
    at = address_of(address, "reactor")
    return await open_reactor(at, await genesis_of(log), CODEC, lease=LEASE)


@asynccontextmanager
async def reacting(log: Log, address: Address, name: str = "a") -> AsyncIterator[Reactor]:
    reactor = Reactor(name, log, await known(log, address))
    task = asyncio.create_task(reactor.run())
    try:
        yield reactor
    finally:
        reactor.stop()
        await task


@asynccontextmanager
async def site(
    place: Place, address: Address, *, reactors: int = 1, partitions: int = 2
) -> AsyncIterator[tuple[Log, Asker]]:
    """A log with an engine and some reactors."""
    async with (
        place.open(partitions, codec=CODEC) as log,
        engine_on(log),
        asking(log) as asker,
        AsyncExitStack() as stack,
    ):
        for n in range(reactors):
            await stack.enter_async_context(reacting(log, address, f"r{n}"))
        yield log, asker


async def decided(log: Log, asker: Asker) -> None:
    """Whatever was sent before has been decided when the answers to these come."""
    streams = (f"nobody-{n}" for n in count())
    ours: dict[int, str] = {}
    while len(ours) < log.partitions:
        name = next(streams)
        ours.setdefault(partition_of(f"ticket/{name}", log.partitions), name)
    await asyncio.gather(
        *(
            asker.ask(Submitted(uuid4(), f"ticket/{name}", c.Seal(), actor="a test"))
            for name in ours.values()
        )
    )


async def settled(log: Log, asker: Asker, address: Address) -> None:
    """Nothing is left to be done: neither by reactors nor by engines."""
    at, before = address_of(address, "reactor"), None
    connection = await connect(at)
    try:
        async with asyncio.timeout(20):
            while True:
                await decided(log, asker)
                ends = [await log.end(n) for n in range(log.partitions)]
                await seen(log, at)
                while await connection.fetchval("SELECT count(*) FROM outbox"):
                    await asyncio.sleep(0.01)
                if ends == before:
                    return
                before = ends
    finally:
        await close(connection)


async def states(log: Log) -> dict[str, TicketState]:
    found: dict[str, TicketState] = {}
    for recorded in await log_of(log):
        kind = type(recorded.event)
        if kind in TICKET.events:
            id_ = recorded.originator_id.removeprefix("ticket/")
            found[id_] = TICKET.successor(found.get(id_, K.ABSENT), kind)
    return found


async def nothing_was_asked_twice(log: Log) -> None:
    """A command that had nothing to do would have left a note; one that ended a ticket, an end."""
    events = [recorded.event for recorded in await log_of(log)]
    assert [] == [event for event in events if isinstance(event, CommandNoted)]


def newer(order: int, **rest: Any) -> c.Open:
    return opening("A", supersedes=Precedence("tower/42", order), **rest)


async def passes(asker: Asker, ticket: str, outcome: Outcome = Outcome.PASSED) -> None:
    token = await ask(asker, ticket, c.Claim(task="A", worker="w1", request=uuid4().hex))
    await ask(asker, ticket, c.Report(task="A", token=token, outcome=outcome))


async def fails(asker: Asker, ticket: str) -> None:
    await passes(asker, ticket, Outcome.FAILED)


# --------------------------------------------------------------------------------- superseding


async def test_of_many_of_one_key_opened_at_once_exactly_the_newest_stays(
    place: Place, address: Address
) -> None:
    orders = list(range(30))
    Random(1).shuffle(orders)
    async with site(place, address, reactors=2, partitions=4) as (log, asker):
        await asyncio.gather(*(ask(asker, f"t{n}", newer(n)) for n in orders))
        await settled(log, asker, address)
        found = await states(log)
        assert {K.QUEUED: 1, K.SUPERSEDED: 29} == Counter(found.values())
        assert K.QUEUED is found["t29"]
        await nothing_was_asked_twice(log)


async def test_one_that_comes_late_never_ends_a_newer_one(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address) as (log, asker):
        await ask(asker, "new", newer(2))
        await settled(log, asker, address)
        await ask(asker, "late", newer(1))
        await settled(log, asker, address)
        assert {"new": K.QUEUED, "late": K.SUPERSEDED} == await states(log)
        [end] = [r for r in await log_of(log) if isinstance(r.event, TicketSuperseded)]
        assert (TicketSuperseded(by="new"), "rule:superseding") == (end.event, end.actor)


async def test_of_two_at_the_same_place_the_one_with_the_higher_id_stays(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address, reactors=2) as (log, asker):
        await asyncio.gather(*(ask(asker, name, newer(1)) for name in ("b", "Z", "a", "c", "9")))
        await settled(log, asker, address)
        assert {"c"} == {name for name, state in (await states(log)).items() if state in OPEN}


async def test_tickets_of_other_keys_and_those_that_have_ended_stay_as_they_are(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address) as (log, asker):
        await ask(asker, "other", opening("A", supersedes=Precedence("tower/43", 1)))
        await ask(asker, "ended", newer(1))
        await passes(asker, "ended")
        await settled(log, asker, address)
        await ask(asker, "new", newer(2))
        await settled(log, asker, address)
        expected = {"other": K.QUEUED, "ended": K.PASSED, "new": K.QUEUED}
        assert expected == await states(log)
        await ask(asker, "ended", c.Rerun())
        await settled(log, asker, address)
        assert expected | {"ended": K.RUNNING} == await states(log)
        await ask(asker, "newest", newer(3))
        await settled(log, asker, address)
        assert {"other", "newest"} == {n for n, s in (await states(log)).items() if s in OPEN}
        await nothing_was_asked_twice(log)


# ------------------------------------------------------------------------------------- waiting


async def test_tickets_wait_for_one_another_in_a_chain(place: Place, address: Address) -> None:
    async with site(place, address, reactors=2) as (log, asker):
        await ask(asker, "c", opening("A", waits_for=("b",)))
        await ask(asker, "b", opening("A", waits_for=("a",)))
        await ask(asker, "a", opening("A"))
        for name in ("a", "b", "c"):
            await settled(log, asker, address)
            assert {K.QUEUED} == {s for n, s in (await states(log)).items() if n >= name}
            await passes(asker, name)
        await settled(log, asker, address)
        assert {K.PASSED: 3} == Counter((await states(log)).values())
        await nothing_was_asked_twice(log)


async def test_a_chain_breaks_from_where_one_did_not_pass(
    on_postgres: Place, address: Address
) -> None:
    async with site(on_postgres, address, reactors=2) as (log, asker):
        await ask(asker, "a", opening("A"))
        await ask(asker, "b", opening("A", waits_for=("a",)))
        await ask(asker, "c", opening("A", waits_for=("b",)))
        await fails(asker, "a")
        await settled(log, asker, address)
        assert {"a": K.FAILED, "b": K.CANCELLED, "c": K.CANCELLED} == await states(log)
        assert {
            "ticket a, for which it waited, has failed",
            "ticket b, for which it waited, has been cancelled",
        } == {r.event.reason for r in await log_of(log) if isinstance(r.event, TicketCancelled)}
        await nothing_was_asked_twice(log)


async def test_what_ended_before_is_known_to_who_comes_later(
    place: Place, address: Address
) -> None:
    async with site(place, address) as (log, asker):
        for name in ("good", "bad"):
            await ask(asker, name, opening("A"))
        await passes(asker, "good")
        await fails(asker, "bad")
        await settled(log, asker, address)
        await ask(asker, "1", opening("A", waits_for=("good",)))
        await ask(asker, "2", opening("A", waits_for=("good", "bad")))
        await settled(log, asker, address)
        await passes(asker, "1")
        found = await states(log)
        assert (K.PASSED, K.CANCELLED) == (found["1"], found["2"])


async def test_run_again_tickets_wait_again_and_go_on(on_postgres: Place, address: Address) -> None:
    async with site(on_postgres, address, reactors=2) as (log, asker):
        await ask(asker, "a", opening("A"))
        await ask(asker, "b", opening("A", waits_for=("a",)))
        await fails(asker, "a")
        await settled(log, asker, address)
        await ask(asker, "a", c.Rerun(scope=Scope.TICKET))
        await settled(log, asker, address)
        await ask(asker, "b", c.Rerun(scope=Scope.TICKET))
        await settled(log, asker, address)
        assert {"a": K.RUNNING, "b": K.RUNNING} == await states(log)
        await passes(asker, "a")
        await settled(log, asker, address)
        await passes(asker, "b")
        assert {"a": K.PASSED, "b": K.PASSED} == await states(log)


async def test_many_who_wait_and_are_awaited_at_once_all_hear_of_it(
    on_postgres: Place, address: Address
) -> None:
    """Whether the waiter or the end comes first, and whichever reactor has which of them."""
    async with site(on_postgres, address, reactors=2) as (log, asker):

        async def end(n: int) -> None:
            await ask(asker, f"a{n}", opening("A"))
            await passes(asker, f"a{n}")

        async def wait(n: int) -> None:
            await ask(asker, f"w{n}", opening("A", waits_for=(f"a{n}", f"a{(n + 7) % 25}")))

        everything = [*map(end, range(25)), *map(wait, range(25))]
        Random(3).shuffle(everything)
        await asyncio.gather(*everything)
        await settled(log, asker, address)
        await asyncio.gather(*(passes(asker, f"w{n}") for n in range(25)))
        assert {K.PASSED: 50} == Counter((await states(log)).values())
        await nothing_was_asked_twice(log)


# ------------------------------------------------------------------------------ who is killed


class Frail:
    """A log at which a reactor is stopped for ever: before it sends, or after it has."""

    def __init__(self, log: Log, *, sends: bool) -> None:
        self._log = log
        self._sends = sends
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def send(self, commands: Sequence[Submitted]) -> None:
        if self._sends:
            await self._log.send(commands)
        self.reached.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("sends", [False, True], ids=["before it sent", "after it sent"])
async def test_what_a_reactor_had_written_down_is_sent_by_the_next_and_once(
    place: Place, address: Address, sends: bool
) -> None:
    async with place.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        frail: Any = Frail(log, sends=sends)
        reactor = Reactor("frail", frail, await known(log, address))
        running = asyncio.create_task(reactor.run())
        await ask(asker, "w", opening("A", waits_for=("a",)))
        await ask(asker, "1", newer(1))
        await ask(asker, "2", newer(2))
        await ask(asker, "a", opening("A"))
        await passes(asker, "a")
        async with asyncio.timeout(20):
            await frail.reached.wait()
        running.cancel()
        with suppress(asyncio.CancelledError), structlog.testing.capture_logs():
            await running
        async with reacting(log, address, "next"):
            await settled(log, asker, address)
        found = await states(log)
        assert (K.SUPERSEDED, K.QUEUED) == (found["1"], found["2"])
        await passes(asker, "w")
        assert K.PASSED is (await states(log))["w"]
        await nothing_was_asked_twice(log)


async def test_reactors_that_come_and_go_lose_and_repeat_nothing(
    on_postgres: Place, address: Address
) -> None:
    chance = Random(5)
    async with on_postgres.open(4, codec=CODEC) as log, engine_on(log), asking(log) as asker:

        async def live() -> None:
            for n in range(40):
                await ask(asker, f"a{n}", opening("A"))
                await ask(asker, f"w{n}", opening("A", waits_for=(f"a{n}",)))
                await ask(asker, f"n{n}", newer(n))
                await passes(asker, f"a{n}")

        living = asyncio.create_task(live())
        with structlog.testing.capture_logs():
            async with reacting(log, address, "a"):
                while not living.done():
                    async with reacting(log, address, f"b{chance.random()}"):
                        await asyncio.wait({living}, timeout=chance.uniform(0.05, 0.3))
                await living
                await settled(log, asker, address)
        found = await states(log)
        assert ["n39"] == [n for n, state in found.items() if n[0] == "n" and state in OPEN]
        await asyncio.gather(*(passes(asker, f"w{n}") for n in range(40)))
        assert {K.PASSED: 80, K.SUPERSEDED: 39, K.QUEUED: 1} == Counter(
            (await states(log)).values()
        )
        await nothing_was_asked_twice(log)


class Slow:
    """A log whose every answer takes its time, but comes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def end(self, partition: int) -> int:
        await asyncio.sleep(SLOWLY)
        return await self._log.end(partition)

    async def send(self, commands: Sequence[Submitted]) -> None:
        await asyncio.sleep(SLOWLY)
        await self._log.send(commands)


SLOWLY = 1.5


async def test_a_reactor_whose_every_step_is_slow_is_not_taken_for_stuck(
    on_postgres: Place, address: Address
) -> None:
    async with on_postgres.open(1, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        view = await known(log, address)
        async with reacting(log, address):
            await ask(asker, "1", newer(1))
            await settled(log, asker, address)
        async with view.join("killed") as folding:
            while 0 not in await folding.granted():
                pass
            fold = await folding.take(0)
            await ask(asker, "2", newer(2))
            await fold.fold((await log_of(log))[fold.sequence :])
            await fold.release()
        barked = Event()
        watchdog = Watchdog(2.5, end=barked.set)
        slow: Any = Slow(log)
        reactor = Reactor("slow", slow, view, watchdog=watchdog)
        running = asyncio.create_task(reactor.run())
        await settled(log, asker, address)
        reactor.stop()
        await running
        watchdog.close()
        assert not barked.is_set()
        assert {"1": K.SUPERSEDED, "2": K.QUEUED} == await states(log)


async def test_a_reactor_that_knows_nothing_any_more_repeats_nothing(
    on_postgres: Place, address: Address
) -> None:
    async with on_postgres.open(2, codec=CODEC) as log, engine_on(log), asking(log) as asker:
        async with reacting(log, address):
            await ask(asker, "w", opening("A", waits_for=("a",)))
            await ask(asker, "a", newer(1))
            await passes(asker, "a")
            await ask(asker, "b", newer(2))
            await ask(asker, "c", newer(3))
            await settled(log, asker, address)
        before = await states(log)
        at = address_of(address, "reactor")
        connection = await connect(at)
        await connection.execute(f'DROP SCHEMA "{at.schema}" CASCADE')
        await close(connection)
        async with reacting(log, address):
            await settled(log, asker, address)
        assert before == await states(log)
