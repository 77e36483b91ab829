"""What a doctor finds about leases: whether they run out as they should, and what held that up."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from adapters.postgres.leases import Gap, Look
from projections.history import duration
from workers.findings import Finding, Level

LATE: Final = 30.0
"""Seconds behind which a lease should have been marked, or its ticket have said that it is lost."""

_FOUND: Final = {"hearing": "no API took heartbeats in", "rounds": "no reaper looked at leases"}


def examine_leases(leases: Look, gaps: Sequence[Gap]) -> Iterator[Finding]:
    """What is found of them, and of the times in which none runs out."""
    yield _open(leases)
    if leases.marked:
        yield _marked(leases)
    if leases.deaf is not None:
        what = f"no API has taken heartbeats in for {_seconds(leases.deaf)}: no lease runs out"
        yield Finding(Level.WATCH, what, "`turnstile api` starts one")
    if leases.unwatched is not None:
        what = f"no reaper has looked at leases for {_seconds(leases.unwatched)}"
        yield Finding(Level.WATCH, what, "`turnstile reaper` starts one")
    for last in _last_of_each(gaps):
        yield _tripped(last) if last.found == "breaker" else _gap(last)


def _open(leases: Look) -> Finding:
    if not leases.open or leases.first is None:
        return Finding(Level.WELL, "no lease is open")
    what = f"{leases.open} leases are open"
    if (leases.late or 0) > LATE:
        what += f"; the first should have ended {_seconds(leases.late or 0)} ago"
        return Finding(Level.WRONG, what, "is a `turnstile reaper` running? See its log")
    if leases.first > 0:
        return Finding(Level.WELL, f"{what}; the first lasts {_seconds(leases.first)} more")
    return Finding(Level.WELL, f"{what}; the first ran out {_seconds(-leases.first)} ago")


def _marked(leases: Look) -> Finding:
    since = leases.marked_for or 0
    what = f"{leases.marked} leases are lost, and their attempts not ended for {_seconds(since)}"
    if since <= LATE:
        return Finding(Level.WELL, what)
    return Finding(Level.WRONG, what, "is a reaper running, do engines and projectors come along?")


def _last_of_each(gaps: Sequence[Gap]) -> Iterator[Gap]:
    shown: set[str] = set()
    for gap in gaps:
        if gap.found not in shown:
            shown.add(gap.found)
            yield gap


def _gap(gap: Gap) -> Finding:
    lasted = duration(gap.ended - gap.began)
    what = f"until {gap.ended:%H:%M:%S} UTC {_FOUND[gap.found]} for {lasted}"
    return Finding(Level.WELL, f"{what}; leases have had their full time since")


def _tripped(gap: Gap) -> Finding:
    what = f"at {gap.ended:%H:%M:%S} UTC {gap.silent} of {gap.open} leases fell silent at once"
    advice = (
        "was the network in front of the API cut? They were given their full time once more, and "
        "those that are silent still are lost then"
    )
    return Finding(Level.WATCH, f"{what}: none was ended", advice)


def _seconds(seconds: float) -> str:
    return duration(timedelta(seconds=seconds))
