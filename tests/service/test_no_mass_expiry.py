"""Leases run out only while heartbeats could have come in: gaps, and the breaker."""

from typing import Any

import pytest

from adapters.postgres.connection import Address
from adapters.postgres.views.due import open_due
from domain.ticket.words import Limit
from domain.workflow import Timeouts
from tests.service.lease_site import LENGTH, TOKEN, LeaseSite, claimed, lease, lease_site
from tests.unit.given import Given, claim, opening, start, task

pytestmark = pytest.mark.service


async def lost(site: LeaseSite) -> list[str]:
    return [one.stream for one in await site.round()]


@pytest.mark.parametrize(
    "away",
    [{"hearing": False}, {"rounds": False}, {"hearing": False, "rounds": False}],
    ids=["no API", "no reaper", "no database"],
)
async def test_nothing_runs_out_before_it_could_be_kept_for_its_full_length(
    address: Address, away: dict[str, Any]
) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.passes(10 * LENGTH, **away)
        assert [] == await lost(site)
        await site.passes(LENGTH - 1)
        assert [] == await lost(site)
        await site.passes(2)
        assert ["ticket/t1"] == await lost(site)


async def test_as_long_as_no_api_hears_nothing_runs_out(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.passes(10 * LENGTH, hearing=False)
        assert [] == [one async for one in site.rounds.due()]
        await site.passes(10 * LENGTH, hearing=False)
        assert [] == [one async for one in site.rounds.due()]


async def test_a_reaper_that_is_paused_before_its_mark_marks_nothing(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.round()
        await site.passes(LENGTH + 1, rounds=False)
        await site.leases.hearing()
        assert 0 == await site.rounds.mark()


async def test_a_gap_is_kept_with_its_end_and_told(address: Address) -> None:
    async with lease_site(address) as site:
        assert [] == (await site.leases.look())[1]
        await site.leases.hearing()
        await site.passes(100, hearing=False)
        look, _ = await site.leases.look()
        assert look.deaf is not None
        assert 99 < look.deaf < 130
        await site.leases.hearing()
        look, [gap] = await site.leases.look()
        assert ("hearing", None) == (gap.found, look.deaf)
        assert 99 < (gap.ended - gap.began).total_seconds() < 130


async def test_a_pause_that_is_no_gap_holds_nothing_up(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.round()
        await site.passes(LENGTH - 1)
        await site.passes(2, hearing=False, rounds=False)
        assert ["ticket/t1"] == await lost(site)


async def test_a_gap_that_is_long_ago_is_forgotten_if_it_is_not_the_last(address: Address) -> None:
    async with lease_site(address) as site:
        for _ in range(2):
            await site.passes(100, hearing=False)
            await site.leases.hearing()
            await site.passes(8 * 86_400)
        await site.round()
        assert 1 == await site.pool.fetchval("SELECT count(*) FROM gaps")


# ---------------------------------------------------------------------------------- run timeouts


async def due(address: Address) -> list[tuple[str, Any]]:
    async with open_due(address) as queries:
        return [(one.stream, getattr(one.command, "limit", None)) async for one in queries.due()]


def ancient(name: str, *more: Any) -> Given:
    """A ticket whose task has lasted too long: it was opened long ago, as the database has it."""
    spec = task("A", timeouts=Timeouts(queue=1, start=1, run=1, heartbeat=LENGTH))
    return Given(opening(spec), *more, stream=f"ticket/{name}")


async def test_run_timeouts_have_the_same_grace(address: Address) -> None:
    async with lease_site(address) as site:
        begun = ancient("run", claim("A"), start("A"))
        await site.fold(begun, ancient("start", claim("A")), ancient("queue"))
        due_at_once = [("ticket/queue", Limit.QUEUE)]
        await site.pool.execute(
            f"UPDATE {address.schema}_tickets.tickets SET deadline = now() + '1 h'"
        )
        await site.passes(100, hearing=False)
        await site.leases.hearing()
        await site.round()
        assert due_at_once == await due(address)
        await site.passes(LENGTH - 1)
        assert due_at_once == await due(address)
        await site.passes(2)
        rest = [("ticket/run", Limit.RUN), ("ticket/start", Limit.START)]
        assert sorted([*due_at_once, *rest]) == sorted(await due(address))


# ----------------------------------------------------------------------------------- the breaker


async def held(site: LeaseSite, number: int) -> list[str]:
    names = [f"t{n:03}" for n in range(number)]
    await site.leases.grant([lease(name) for name in names])
    return names


async def beat(site: LeaseSite, names: list[str]) -> None:
    await site.leases.beat("w1", "s1", [(name, TOKEN) for name in names])


async def test_of_many_leases_no_more_than_a_third_runs_out_at_once(address: Address) -> None:
    async with lease_site(address) as site:
        names = await held(site, 21)
        await site.passes(LENGTH - 10)
        await beat(site, names[:13])
        await site.passes(11)
        assert [] == await lost(site)
        _, [trip] = await site.leases.look()
        assert ("breaker", 8, 21) == (trip.found, trip.silent, trip.open)
        await beat(site, names[:13])
        await site.passes(LENGTH - 1)
        await beat(site, names[:13])
        assert [] == await lost(site)
        await site.passes(2)
        assert [f"ticket/{name}" for name in names[13:]] == await lost(site)
        _, gaps = await site.leases.look()
        assert [("breaker", 8)] == [(gap.found, gap.silent) for gap in gaps]


async def test_a_third_may_run_out_and_a_handful_always(address: Address) -> None:
    async with lease_site(address) as site:
        names = await held(site, 21)
        await site.passes(LENGTH - 10)
        await beat(site, names[:14])
        await site.passes(11)
        assert 7 == len(await lost(site))
    async with lease_site(address) as site:
        await site.pool.execute("DELETE FROM leases")
        await held(site, 5)
        await site.passes(LENGTH + 1)
        assert 5 == len(await lost(site))


async def test_what_falls_silent_one_after_another_is_counted_together(address: Address) -> None:
    """Heartbeats come in one after another, so leases do not run out in the same round."""
    async with lease_site(address) as site:
        names = await held(site, 20)
        await site.passes(40)
        for n in range(0, 20, 2):  # and then the network is cut
            await beat(site, names[n : n + 2])
            await site.passes(0.5)
        await site.passes(LENGTH - 4.6)
        assert [] == await lost(site)
        _, [trip] = await site.leases.look()
        assert ("breaker", 20) == (trip.found, trip.silent)


async def test_what_was_silent_when_the_breaker_tripped_does_not_trip_it_again(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        await held(site, 20)
        await site.passes(LENGTH + 1)
        assert [] == await lost(site)
        await site.passes(LENGTH + 1)
        assert 20 == len(await lost(site))


async def test_who_comes_back_while_the_breaker_holds_has_lost_nothing(address: Address) -> None:
    async with lease_site(address) as site:
        names = await held(site, 20)
        await site.passes(LENGTH + 1)
        assert [] == await lost(site)
        await beat(site, names)
        await site.passes(LENGTH - 1)
        assert [] == await lost(site)


async def test_leases_of_different_lengths_have_each_its_own(address: Address) -> None:
    async with lease_site(address) as site:
        await site.fold(claimed("long", length=10 * LENGTH), claimed("short"))
        await site.passes(20 * LENGTH, hearing=False)
        assert [] == await lost(site)
        await site.passes(LENGTH + 1)
        assert ["ticket/short"] == await lost(site)
