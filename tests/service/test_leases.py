"""Leases beside the log, on a real PostgreSQL: who makes a row, keeps, loses and removes it."""

import asyncio

import pytest

from adapters.postgres.connection import Address
from adapters.postgres.leases import RESTARTED, Lease
from adapters.postgres.views.rebuilding import drop
from adapters.postgres.views.view import address_of
from domain.ticket import commands as c
from domain.worker import commands as worker
from domain.worker import events as w
from tests.service.lease_site import LENGTH, TOKEN, LeaseSite, claimed, lease, lease_site
from tests.unit.given import Given, claim, lose, passed

pytestmark = pytest.mark.service

A = ("t1", TOKEN)


# ------------------------------------------------------------------- the fold, and who grants it


async def test_a_claim_makes_a_row_and_the_end_of_its_attempt_removes_it(address: Address) -> None:
    async with lease_site(address) as site:
        ticket = claimed("t1")
        await site.fold(ticket)
        assert [(*A, "", False)] == await site.rows()
        assert LENGTH - 20 < await site.remaining("t1") <= LENGTH
        await site.fold(ticket.after(passed("A")))
        assert [] == await site.rows()


async def test_a_cancellation_removes_what_was_claimed_before_it(address: Address) -> None:
    async with lease_site(address) as site:
        ticket = claimed("t1")
        await site.fold(ticket)
        ticket.after(c.Cancel(), c.Rerun(), claim("A", "w1", "r2"))
        token = ticket.task("A").attempts[-1].token
        await site.leases.grant([Lease("t1", token, "A", "w1", "s1", "r2", LENGTH)])
        await site.fold(ticket)
        assert [("t1", token, "s1", False)] == await site.rows()


async def test_whoever_knows_first_makes_the_row_and_neither_shortens_it(address: Address) -> None:
    async with lease_site(address) as site:
        first, second = claimed("t1"), claimed("t2")
        await site.leases.grant([lease("t1")])
        await site.passes(10)
        await site.fold(first, second)
        assert await site.remaining("t1") < LENGTH - 9  # the fold does not lengthen it, either
        await site.leases.beat("w1", "s1", [("t2", TOKEN)])
        await site.leases.grant([lease("t2")])
        assert [(*A, "s1", False), ("t2", TOKEN, "s1", False)] == await site.rows()
        assert await site.remaining("t2") > LENGTH - 9


async def test_a_claim_whose_end_is_known_is_not_granted(address: Address) -> None:
    async with lease_site(address) as site:
        await site.fold(claimed("t1").after(passed("A")))
        await site.leases.grant([lease("t1")])
        assert [] == await site.rows()


async def test_the_same_claim_request_finds_what_it_got_also_what_the_fold_made(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.fold(claimed("t1"), claimed("t2"), claimed("t3", request="another"))
        await site.fold(claimed("t4", worker="w2"))
        assert [lease("t1"), lease("t2", session="")] == await site.leases.of_request("w1", "r1")
        await site.pool.execute("UPDATE leases SET marked = now(), reason = ''")
        assert [] == await site.leases.of_request("w1", "r1")


async def test_whoever_has_an_attempt_is_known(address: Address) -> None:
    async with lease_site(address) as site:
        await site.fold(claimed("t1"))
        assert await site.leases.present(*A)
        assert await site.leases.present("t1", TOKEN + 1)  # it may not be there yet
        assert await site.leases.present("nobody", 2**63 - 1)
        await site.pool.execute("UPDATE leases SET marked = now(), reason = ''")
        assert not await site.leases.present(*A)


async def test_without_the_schema_everybody_has_a_full_lease_again(address: Address) -> None:
    ticket, other = claimed("t1"), claimed("t2").after(passed("A"))
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.fold(ticket, other)
        await site.passes(LENGTH - 1)
    for name in ("leases", "tickets"):
        assert await drop(address_of(address, name))
    async with lease_site(address) as site:
        await site.fold(ticket, other)
        assert [(*A, "", False)] == await site.rows()
        assert await site.remaining("t1") > LENGTH - 20
        assert [] == await site.round()


# ------------------------------------------------------------------------------------ heartbeats


async def test_one_heartbeat_keeps_all_attempts_of_a_runner(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1"), lease("t2")])
        await site.passes(50)
        beating = await site.leases.beat("w1", "s1", [A, ("t2", TOKEN), A])
        assert [] == beating.lost
        assert [("t1", TOKEN, "A"), ("t2", TOKEN, "A")] == sorted(beating.held)
        assert min([await site.remaining(name) for name in ("t1", "t2")]) > LENGTH - 9


async def test_what_a_heartbeat_does_not_name_is_not_kept_and_yet_told(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.passes(50)
        assert [("t1", TOKEN, "A")] == (await site.leases.beat("w1", "s1")).held
        assert await site.remaining("t1") < 11


async def test_a_heartbeat_adopts_a_row_that_the_fold_made(address: Address) -> None:
    async with lease_site(address) as site:
        await site.fold(claimed("t1"))
        await site.leases.beat("w1", "s1", [A])
        assert [(*A, "s1", False)] == await site.rows()


async def test_a_heartbeat_on_a_marked_row_is_told_so_and_does_not_keep_it(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.passes(LENGTH + 1)
        await site.round()
        beating = await site.leases.beat("w1", "s1", [A])
        assert [(*A, "the lease ran out")] == beating.lost
        assert [] == beating.held
        assert [(*A, "s1", True)] == await site.rows()


async def test_a_heartbeat_before_the_row_is_there_is_no_error(address: Address) -> None:
    async with lease_site(address) as site:
        beating = await site.leases.beat("w1", "s1", [A])
        assert ([], []) == (beating.lost, beating.held)
        await site.fold(claimed("t1"), views=("tickets",))
        assert [] == (await site.leases.beat("w1", "s1", [A])).lost


async def test_a_heartbeat_for_an_attempt_that_has_ended_is_told_how(address: Address) -> None:
    async with lease_site(address) as site:
        await site.fold(claimed("t1").after(c.Cancel(reason="no more")), claimed("t2"))
        await site.fold(claimed("t3").after(lose("A")))
        beating = await site.leases.beat("w1", "s1", [A, ("t2", TOKEN), ("t3", TOKEN)])
        lost = ("t3", TOKEN, "lease_lost: the lease ran out")
        assert [(*A, "tasks_cancelled: no more"), lost] == sorted(beating.lost)


async def test_a_heartbeat_for_the_attempt_of_another_keeps_nothing(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.passes(50)
        beating = await site.leases.beat("w2", "s2", [A])
        assert [(*A, "it is the attempt of w1")] == beating.lost
        assert [] == beating.held
        assert await site.remaining("t1") < 11


async def test_heartbeats_of_many_at_once_do_not_wait_for_one_another_in_a_circle(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        names = [f"t{n:03}" for n in range(200)]
        await site.leases.grant([lease(name) for name in names])
        there = [(name, TOKEN) for name in names]
        orders = [there, there[::-1], there[100:] + there[:100]] * 10
        beatings = await asyncio.gather(*(site.leases.beat("w1", "s1", each) for each in orders))
        assert [[]] * len(orders) == [one.lost for one in beatings]


# ------------------------------------------------------------------------------------- the mark


async def test_what_runs_out_while_heartbeats_could_come_in_is_lost(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1"), lease("t2")])
        await site.passes(50)
        await site.leases.beat("w1", "s1", [("t2", TOKEN)])
        await site.passes(11)
        [sent] = await site.round()
        assert ("ticket/t1", c.LoseLease(task="A", token=TOKEN)) == (sent.stream, sent.command)
        assert [(*A, "s1", True), ("t2", TOKEN, "s1", False)] == await site.rows()


async def test_a_marked_row_is_told_to_its_ticket_until_the_event_removes_it(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        ticket = claimed("t1")
        await site.fold(ticket)
        await site.passes(LENGTH + 1)
        assert 1 == await site.rounds.mark()  # and the reaper dies
        [first] = await site.round()
        [second] = await site.round()
        assert first == second
        await site.fold(ticket.after(lose("A")))
        assert [] == await site.round()
        assert [] == await site.rows()


async def test_a_row_that_a_late_grant_made_again_goes_away(address: Address) -> None:
    async with lease_site(address) as site:
        ticket = claimed("t1").after(passed("A"))
        await site.fold(ticket, views=("leases",))
        await site.leases.grant([lease("t1")])  # nobody knows of the end yet
        await site.fold()
        await site.passes(LENGTH + 1)
        assert [] == await site.round()
        assert [] == await site.rows()


async def test_a_grant_does_not_revive_what_is_marked(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1")])
        await site.passes(LENGTH + 1)
        await site.round()
        await site.leases.grant([lease("t1")])
        assert [(*A, "s1", True)] == await site.rows()


# ------------------------------------------------------------------------------------- restarts


async def test_a_runner_that_was_started_anew_loses_what_its_older_sessions_had(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        await site.leases.grant([lease("t1", "old"), lease("t2", "new")])
        await site.leases.grant([lease("t3", "old", "w2")])
        await site.fold(claimed("t4"))
        assert [("t1", "A", TOKEN)] == await site.leases.release_others("w1", "new")
        assert [] == await site.leases.release_others("w1", "new")
        [sent] = await site.round()
        assert c.LoseLease(task="A", token=TOKEN, reason=RESTARTED) == sent.command
        assert ["t1"] == [row[0] for row in await site.rows() if row[3]]


# -------------------------------------------------------------------------------------- workers


async def missing(site: LeaseSite) -> list[tuple[str, object]]:
    return [(one.stream, one.command) for one in await site.round()]


async def test_a_worker_that_is_not_heard_of_is_told_so(address: Address) -> None:
    async with lease_site(address) as site:
        site.record_of_worker("w1", w.WorkerRegistered(session="s1", home="h"))
        await site.fold()
        await site.leases.heard("w2", "s2")
        await site.passes(29)
        await site.leases.beat("w2", "s2")
        assert [] == await missing(site)
        await site.passes(2)
        assert [("worker/w1", worker.Miss(session="s1"))] == await missing(site)
        site.record_of_worker("w1", w.WorkerGone(session="s1"))
        await site.fold()
        assert [] == await missing(site)


async def test_who_waits_for_tasks_is_heard_of_in_its_present_session(address: Address) -> None:
    async with lease_site(address) as site:
        for name in ("w1", "w2"):
            await site.leases.heard(name, "s2")
        await site.passes(29)
        await site.leases.heard_of({"w1": "s2", "w2": "s1", "w3": "s1"})
        await site.passes(2)
        assert [("worker/w2", worker.Miss(session="s2"))] == await missing(site)


async def test_a_worker_that_is_gone_is_not_missed_again_because_it_beats(
    address: Address,
) -> None:
    async with lease_site(address) as site:
        await site.leases.beat("w1", "s1")
        await site.passes(31)
        assert [] == await missing(site)


async def test_the_end_of_an_older_session_does_not_end_the_newer(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.heard("w1", "s2")
        site.record_of_worker("w1", w.WorkerGone(session="s1"))
        await site.fold()
        await site.passes(31)
        assert [("worker/w1", worker.Miss(session="s2"))] == await missing(site)


async def test_no_worker_is_missed_before_it_could_be_heard_again(address: Address) -> None:
    async with lease_site(address) as site:
        await site.leases.heard("w1", "s1")
        await site.passes(100, hearing=False)
        assert [] == await missing(site)
        await site.passes(29)
        assert [] == await missing(site)
        await site.passes(2)
        assert [("worker/w1", worker.Miss(session="s1"))] == await missing(site)


def test_the_token_of_the_tickets_here_is_that_of_their_claims() -> None:
    ticket: Given = claimed("t1")
    assert TOKEN == ticket.task("A").attempts[-1].token
