"""The benchmarks with runners in miniature: a load of a few tickets ends, and its figures fit."""

import pytest

from tests.benchmarks.http import ROLES, http
from tests.benchmarks.latency import latency
from tests.benchmarks.settings import Settings
from tests.benchmarks.system import started
from tests.benchmarks.tickets import CHANGES

pytestmark = [pytest.mark.service, pytest.mark.slow]


async def test_tickets_pass_through_the_hands_of_runners_who_then_wait() -> None:
    settings = Settings(tickets=80, idlers=5, seconds=0.5, workers=2, slots=5)
    async with started("postgres", 1, views=True, roles=ROLES) as system:
        found = await http(system, settings)
    assert {"engine", "projector", "postgres", *ROLES} == set(
        found.details["idle_percent_by_process"]
    )
    assert round(found.tickets_per_second * CHANGES) == round(found.state_changes_per_second)
    assert 5 == found.details["idle_runners"]


async def test_each_ticket_of_a_steady_load_is_claimed_before_it_is_done() -> None:
    settings = Settings(seconds=0.5, rate=40, workers=2, slots=5)
    async with started("postgres", 1, views=True, roles=ROLES) as system:
        found = await latency(system, settings)
    assert 20 == found.details["samples"]
    assert 0 < found.details["submit_to_claimed_p50_ms"] < found.details["submit_to_done_p50_ms"]
    assert found.p99_ms == found.details["submit_to_done_p99_ms"]
