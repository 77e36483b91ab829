"""The doctor: looks at everything a service needs, says what is wrong and what to do about it.

It needs no API and changes nothing. One finding never hides another.
"""

import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from adapters.client import Client, TurnstileError
from adapters.config import Config
from adapters.dead import DeadLetters
from adapters.log import LogError
from adapters.postgres.leases import Gap, Look
from adapters.postgres.looking import Machine, Tickets
from projections.history import duration
from projections.progress import Judged
from projections.workers import Worker
from workers.findings import Finding, Level
from workers.lease_findings import examine_leases
from workers.progress import Progress
from workers.queue_findings import examine_queue

CLOCK: Final = 1.0
"""Seconds by which clocks may differ."""

ROOM: Final = 1024**3
"""Bytes that should be free where the bundled server writes."""


async def examine(
    config: Config,
    progress: Progress,
    dead: DeadLetters,
    machine: Machine,
    tickets: Tickets,
    workers: Sequence[Worker],
    leases: Look,
    gaps: Sequence[Gap],
) -> AsyncIterator[Finding]:
    """Everything that is found, in the order in which a service depends on it."""
    yield _clock(machine)
    yield _disk(config, machine)
    for finding in _courses(await progress.judge()):
        yield finding
    yield _overdue(tickets)
    yield _quarantined(tickets)
    for finding in examine_leases(leases, gaps):
        yield finding
    yield await _dead(dead)
    yield _waiting(tickets)
    for finding in examine_queue(tickets.waiting, workers):
        yield finding
    yield await _api(config)


def _clock(machine: Machine) -> Finding:
    if abs(machine.ahead) < CLOCK:
        return Finding(Level.WELL, "this machine's clock and the database's agree")
    side = "ahead of" if machine.ahead > 0 else "behind"
    what = f"this machine's clock is {abs(machine.ahead):.1f} s {side} the database's"
    return Finding(Level.WRONG, what, "synchronise the clocks: an engine that is ahead is refused")


def _disk(config: Config, machine: Machine) -> Finding:
    size = f"the database takes {_bytes(machine.size)}"
    if config.database_url is not None:
        return Finding(Level.WELL, size)
    free = shutil.disk_usage(config.data if Path(config.data).exists() else ".").free
    what = f"{size}; {_bytes(free)} are free in {config.data}"
    if free >= ROOM:
        return Finding(Level.WELL, what)
    return Finding(Level.WRONG, what, "make room: a log that cannot be written stops everything")


def _bytes(n: int) -> str:
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"


def _courses(found: Sequence[Judged]) -> Iterator[Finding]:
    for name, group in groupby(found, lambda one: one.course.of):
        ways = list(group)
        behind = [one for one in ways if not one.is_well]
        if not behind:
            yield _well(name, ways)
        for one in behind:
            yield _behind(one)


def _well(name: str, ways: Sequence[Judged]) -> Finding:
    lag = sum(one.course.end - one.course.done for one in ways)
    owners = sorted({one.course.owner for one in ways if one.course.owner})
    leases = [one.course.lease for one in ways if one.course.lease is not None]
    vacant = sum(one.course.owner is None for one in ways)
    what = f"{name}: {len(ways)} partitions, {lag} behind, held by {', '.join(owners) or 'nobody'}"
    if leases:
        what += f"; the shortest lease lasts {min(leases):.1f} s more"
    if not vacant:
        return Finding(Level.WELL, what)
    role = name if name in ("engine", "reactor") else "projector"
    return Finding(
        Level.WATCH, f"{what}; nobody has {vacant}", f"start one if none runs: `turnstile {role}`"
    )


def _behind(one: Judged) -> Finding:
    course = one.course
    since = ""
    if one.since is not None:
        since = f", not moved for {duration(datetime.now(UTC) - one.since)} at the least"
    what = f"{course.of}: partition {course.partition} is at {course.done} of {course.end}{since}"
    return Finding(Level.WRONG, what, one.advice)


def _overdue(tickets: Tickets) -> Finding:
    if not tickets.overdue:
        return Finding(Level.WELL, "no ticket is open behind its deadline")
    what = f"{tickets.overdue} tickets are open behind their deadlines"
    return Finding(Level.WRONG, what, "is a `turnstile reaper` running? Start one, or see its log")


def _quarantined(tickets: Tickets) -> Finding:
    if not tickets.quarantined:
        return Finding(Level.WELL, "no ticket is in quarantine")
    what = f"{tickets.quarantined} tickets could not be folded on; `turnstile show` says why"
    return Finding(Level.WRONG, what, "report it: the program is at fault, and not the ticket")


async def _dead(dead: DeadLetters) -> Finding:
    try:
        count = sum(await dead.count())
    except LogError as error:
        return Finding(Level.WRONG, f"dead letters cannot be counted: {error}", "see above")
    if not count:
        return Finding(Level.WELL, "there are no dead letters")
    what = f"{count} dead letters wait for somebody"
    return Finding(Level.WATCH, what, "`turnstile dead` lists them: inject or drop them")


def _waiting(tickets: Tickets) -> Finding:
    if tickets.waits_since is None:
        return Finding(Level.WELL, "nothing waits for a worker")
    passed = duration(datetime.now(UTC) - tickets.waits_since)
    return Finding(Level.WELL, f"what waits for a worker has waited for {passed} at most")


async def _api(config: Config) -> Finding:
    url = config.url or f"http://{config.http}"
    try:
        async with Client(url, patience=3) as client:
            await client.health()
    except TurnstileError as error:
        what = f"no API answers at {url}: {error}"
        advice = "`turnstile api` starts one; TURNSTILE_URL says where it is"
        return Finding(Level.WATCH, what, advice)
    return Finding(Level.WELL, f"the API at {url} answers")
