"""Policies: what a rule asks for because of an event. The reactor and the reaper send it.

A policy is advice: the ticket that is asked decides. The id of a command follows from what caused
it, so that to ask again is to ask for the same.

    superseding   a ticket takes the place of the older ones of its key
    waiting       a ticket hears how those have ended that it waits for
    reaping       what has lasted too long is told to end
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from domain.envelope import Recorded, Submitted
from domain.event import Command, Event
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import TICKET, TICKET_ENDED, TicketState
from domain.ticket.words import Limit, Precedence
from domain.worker import commands as w

KIND: Final = "ticket/"
REAPER: Final = "reaper"

_REAPING: Final = UUID("3f0d4a52-7f0c-5b0e-9a54-6f3b8c1d2e70")
"""The namespace of the ids of the reaper's commands."""

_ENDS: Final[dict[type[Event], TicketState]] = {
    edge.event: edge.destination
    for edge in TICKET.edges
    if isinstance(edge.destination, TicketState) and edge.destination in TICKET_ENDED
}


class Opened(Struct, frozen=True):
    """A ticket was opened that takes the place of others, or waits for some."""

    ticket: str
    cause: UUID
    precedence: Precedence | None
    waits_for: tuple[str, ...]


class Ended(Struct, frozen=True):
    """A ticket has ended."""

    ticket: str
    cause: UUID
    state: TicketState


class Reopened(Struct, frozen=True):
    """A ticket that had ended is run again."""

    ticket: str
    cause: UUID


class Heard(Struct, frozen=True):
    """A ticket does not wait for another any more."""

    ticket: str
    awaited: str


Matter = Opened | Ended | Reopened | Heard
"""What concerns a policy in an event. Most events concern none."""


def matter(recorded: Recorded) -> Matter | None:
    """What concerns a policy in the event, if anything does."""
    event = recorded.event
    kind = type(event)
    if kind not in _CONCERNS:
        return None
    ticket = recorded.originator_id.removeprefix(KIND)
    match event:
        case e.TicketOpened(supersedes=precedence, waits_for=others) if precedence or others:
            return Opened(ticket, recorded.id, precedence, others)
        case e.TasksReset(deadline=datetime()):
            return Reopened(ticket, recorded.id)
        case e.AwaitedPassed(ticket=awaited):
            return Heard(ticket, awaited)
        case _ if kind in _ENDS:
            return Ended(ticket, recorded.id, _ENDS[kind])
        case _:
            return None


_CONCERNS: Final = frozenset({e.TicketOpened, e.TasksReset, e.AwaitedPassed, *_ENDS})


def superseding(older: Iterable[tuple[str, UUID]], newest: str) -> Iterator[Submitted]:
    """The *newest* ticket of a key takes the place of those *older* ones that are open.

    Each is given with the event by which it is open, from which the command's id follows: whichever
    newer one comes first, and however many do, it is superseded once. One that had ended and is run
    again stays until another is opened: whoever runs it again means it.
    """
    for ticket, cause in older:
        yield _command("superseding", cause, ticket, "", c.Supersede(by=newest))


def waiting(
    cause: UUID, awaited: str, state: TicketState, waiters: Iterable[str]
) -> Iterator[Submitted]:
    """The *waiters* hear that the ticket which they wait for has ended, in that *state*.

    *cause* is its end; or the opening or rerun of a waiter, where the other had ended before.
    """
    for ticket in waiters:
        yield _command("waiting", cause, ticket, awaited, c.NoteEnd(ticket=awaited, state=state))


def _command(policy: str, cause: UUID, ticket: str, about: str, command: Command) -> Submitted:
    return Submitted(
        id=uuid5(cause, f"{policy} {ticket} {about}".rstrip()),
        stream=f"{KIND}{ticket}",
        command=command,
        actor=f"rule:{policy}",
    )


def expiry(ticket: str, deadline: datetime) -> Submitted:
    """The ticket is told that its deadline has passed."""
    return _reaping(ticket, f"deadline {deadline.isoformat()}", c.Expire())


def timeout(ticket: str, task: str, limit: Limit, token: int | None, due: datetime) -> Submitted:
    """The ticket is told that a stage of a task has lasted too long."""
    shown = None if limit is Limit.QUEUE else token
    what = f"{task} {limit} {shown} {due.isoformat()}"
    return _reaping(ticket, what, c.TimeOut(task=task, limit=limit, token=shown))


def lost_lease(ticket: str, task: str, token: int, reason: str) -> Submitted:
    """The ticket is told that the attempt's lease is lost."""
    command = c.LoseLease(task=task, token=token, reason=reason)
    return _reaping(ticket, f"{task} lease {token}", command)


def missed(worker: str, session: str, heard: datetime) -> Submitted:
    """The worker is told that its session was not heard of any more since then."""
    command = w.Miss(session=session)
    return _reaping(worker, f"{session} heard {heard.isoformat()}", command, "worker/")


def _reaping(name: str, what: str, command: Command, kind: str = KIND) -> Submitted:
    """Its id names what is due and when: later is another command, and sooner or twice is not."""
    return Submitted(
        id=uuid5(_REAPING, f"{name} {what}"),
        stream=f"{kind}{name}",
        command=command,
        actor=REAPER,
    )
