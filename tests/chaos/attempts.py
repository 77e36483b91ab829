"""What attempts have come to, looked up in the log when all is over."""

from collections import Counter
from collections.abc import Iterable, Iterator

from domain.event import Event
from domain.ticket import events as e
from tests.chaos.rules import Histories
from tests.chaos.workflows import FAILED, PASSED, Ticket

LOST = (e.LeaseLost, e.ClaimReturned, e.ClaimRevoked)
"""Ends of attempts about which no report has decided."""

TOLD = (e.TaskRetried, e.TaskPassed, e.TaskFailed, e.TaskTimedOut, e.TaskSkipped, e.TaskErrored)
"""Ends that were reported."""

ENDS: dict[type[Event], str] = {e.TaskPassed: PASSED, e.TaskFailed: FAILED}


def check_attempts(histories: Histories, tickets: Iterable[Ticket]) -> None:
    """Every ticket came to what it says, and whatever was claimed has one end."""
    for ticket in tickets:
        found = histories.of[ticket.name]
        assert ticket.state is histories.state(ticket.name), f"{ticket.name} ended otherwise"
        ended = [one.event for one in found if isinstance(one.event, LOST + TOLD)]
        ends = {one.task: ENDS[type(one)] for one in ended if type(one) in ENDS}
        assert ticket.ends == ends, f"tasks of {ticket.name} ended otherwise"
        claimed = Counter(
            (one.event.task, one.originator_version)
            for one in found
            if isinstance(one.event, e.TaskClaimed)
        )
        assert claimed == Counter((one.task, one.token) for one in ended), (
            f"an attempt of {ticket.name} has not one end"
        )


def lost(histories: Histories) -> Counter[str]:
    """How many attempts nobody has reported, by the reason."""
    return Counter(
        f"{type(one.event).__name__}: {one.event.reason}"
        for events in histories.of.values()
        for one in events
        if isinstance(one.event, LOST)
    )


def last_ones(histories: Histories, ticket: Ticket) -> Iterator[e.TaskPassed | e.TaskFailed]:
    """How each task has ended that ran."""
    for one in histories.of[ticket.name]:
        if isinstance(one.event, e.TaskPassed | e.TaskFailed):
            yield one.event
