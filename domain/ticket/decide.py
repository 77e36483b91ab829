"""What follows from a command: START READING HERE.

One function a command, by subject:

    opening.py    open, add tasks, seal             steering.py   hold, rerun, cancel, supersede …
    attempts.py   claim, start, report, losses      awaiting.py   when other tickets end
                                                    follows.py    what follows inside the ticket

Each reads the ticket and returns the events that record the outcome: none if nothing is left to
do. Refusals are raised (`domain.errors`). Nothing here reads a clock.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from domain.errors import UnknownTicket
from domain.event import Command
from domain.ticket import attempts, awaiting, opening, steering
from domain.ticket import commands as c
from domain.ticket.follows import Events
from domain.ticket.state import Ticket

_DECIDE: Final[dict[type[Command], Callable[[Ticket, Any, datetime], Events]]] = {
    c.AddTasks: opening.add_tasks,
    c.Seal: opening.seal,
    c.Claim: attempts.claim,
    c.Start: attempts.start,
    c.LoseLease: attempts.lose_lease,
    c.Report: attempts.report,
    c.ReturnClaim: attempts.return_claim,
    c.Revoke: attempts.revoke,
    c.Cancel: steering.cancel,
    c.Rerun: steering.rerun,
    c.Hold: steering.hold,
    c.Unhold: steering.unhold,
    c.ChangePriority: steering.change_priority,
    c.Supersede: steering.supersede,
    c.NoteEnd: awaiting.note_end,
    c.Expire: steering.expire,
    c.TimeOut: attempts.time_out,
}


def decide(ticket: Ticket, ticket_id: str, command: Command, now: datetime) -> Events:
    """The events that record the outcome of *command*; none if nothing is left to do.

    Raises:
        Refused: the command is wrong, or the ticket's state does not permit it.
    """
    if isinstance(command, c.Open):
        return opening.open_ticket(ticket, ticket_id, command, now)
    if not ticket.exists:
        raise UnknownTicket(ticket=ticket_id)
    return _DECIDE[type(command)](ticket, command, now)
