"""A report that its ticket can take: an event has room for so much, and what does not fit is lost.

Who says too much loses the end of it, and not the outcome.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from domain.ticket.words import Result, Told

REASON: Final = 2_000
"""Characters of a reason."""

RESULTS: Final = 160 * 1024
"""Bytes of all results together, as JSON."""


def fitting(told: Told) -> Told:
    """The same, with as much of the reason and of the results as there is room for."""
    results = _first(told.results)
    reason = told.reason
    if left := len(told.results) - len(results):
        reason = f"{reason}; " if reason else ""
        reason = f"{reason[:REASON]}{left} of {len(told.results)} results are not kept"
    return replace(told, reason=shortened(reason), results=results)


def shortened(reason: str) -> str:
    """A reason as any event takes it."""
    reason = reason.replace("\0", "\ufffd").encode(errors="replace").decode()
    return reason if len(reason) <= REASON else f"{reason[:REASON]}…"


def _first(results: tuple[Result, ...]) -> tuple[Result, ...]:
    room = RESULTS
    for n, result in enumerate(results):
        room -= len(msgspec.json.encode(result)) + 1
        if room < 0:
            return results[:n]
    return results
