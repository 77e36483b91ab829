"""A report that an event has room for: what is too much is cut, and the outcome stays."""

import msgspec

from adapters.codec import DATA_LIMIT
from domain.ticket.words import Artifact, Execution, Outcome, Result, Told
from workers.runner.artifacts import MOST, NAMES
from workers.runner.fitting import REASON, fitting


def test_what_fits_is_as_it_was() -> None:
    told = Told(outcome=Outcome.PASSED, results=(Result("A/one", Outcome.PASSED),))
    assert told == fitting(told)


def test_a_long_reason_is_cut_and_is_text() -> None:
    told = fitting(Told(execution=Execution.INFRASTRUCTURE, reason="\0\udcff" + "x" * 10_000))
    assert "\N{REPLACEMENT CHARACTER}?" + "x" * (REASON - 2) + "…" == told.reason


def test_of_too_many_results_the_first_are_kept_and_it_is_said() -> None:
    results = tuple(Result(f"A/{'ä' * 200}{n}", Outcome.PASSED) for n in range(1_000))
    told = fitting(Told(outcome=Outcome.PASSED, results=results))
    assert Outcome.PASSED is told.outcome
    assert results[: len(told.results)] == told.results
    left = 1_000 - len(told.results)
    assert f"{left} of 1000 results are not kept" == told.reason


def test_the_most_that_is_told_is_no_more_than_an_event_holds() -> None:
    name, digest = "n" * (NAMES // MOST - 2), f"sha256:{'0' * 64}"
    told = Told(
        outcome=Outcome.FAILED,
        reason="ä" * 10_000,
        results=tuple(Result("A/" + "ä" * 200, Outcome.FAILED, "x" * 200) for _ in range(1_000)),
        artifacts=tuple(Artifact(name, digest, size=2**53 - 1) for _ in range(MOST)),
    )
    assert len(msgspec.json.encode(fitting(told))) < DATA_LIMIT * 0.95
