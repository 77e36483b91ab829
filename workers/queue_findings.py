"""What a doctor finds about tasks that wait: whether any worker could take them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from adapters.postgres.looking import LONG, Waiting
from domain.workflow import Requirements, lacking
from projections.history import duration
from projections.workers import Worker
from workers.findings import Finding, Level
from workers.runner.machine import capabilities

NAMED: Final = 3
"""Sets of requirements that are told, at most."""

OWN: Final = frozenset(capabilities("", ""))
"""What a runner has of its machine, and not because it is told so."""


def examine_queue(waiting: Sequence[Waiting], workers: Collection[Worker]) -> Iterator[Finding]:
    """What is found of tasks that have waited for LONG, where these *workers* may claim."""
    stranded = [
        one
        for one in waiting
        if all(lacking(worker.capabilities, one.requires) for worker in workers)
    ]
    if not stranded:
        return
    tasks = sum(one.tasks for one in stranded)
    lacks = "no available worker has what they require" if workers else "no worker is available"
    what = f"{tasks} tasks have waited for over {duration(LONG)}, and {lacks}"
    if wanted := [one for one in stranded if one.requires]:
        more = "; …" if len(wanted) > NAMED else ""
        what += f": {'; '.join(map(_told, wanted[:NAMED]))}{more}"
    yield Finding(Level.WATCH, what, _advice(stranded[0].requires, any_worker=bool(workers)))


def _told(one: Waiting) -> str:
    return f"{one.tasks} require {', '.join(_pairs(one.requires))}"


def _advice(requires: Requirements, *, any_worker: bool) -> str:
    """For the largest of them."""
    told = [f"--capability {one}" for one in _pairs(requires, OWN)]
    if told:
        return f"start a runner with `{' '.join(told)}`"
    return "start a runner on such a machine" if any_worker else "`turnstile runner` starts one"


def _pairs(requires: Requirements, without: Collection[str] = ()) -> list[str]:
    return [
        f"{name}={value}"
        for name, values in requires.items()
        if name not in without
        for value in values
    ]
