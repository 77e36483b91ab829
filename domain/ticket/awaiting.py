"""When other tickets end: what a ticket does that waits for them.

Two tickets that wait for one another wait until their deadlines: nobody here sees both.
"""

from datetime import datetime

from domain.errors import Invalid
from domain.ticket import commands as c
from domain.ticket import events as e
from domain.ticket.automata import TICKET_ENDED, TicketState
from domain.ticket.follows import Events, all_ready, end_all
from domain.ticket.state import Ticket


def note_end(ticket: Ticket, command: c.NoteEnd, now: datetime) -> Events:
    """One less to wait for, or, where the other has not passed, the end.

    Nothing if the ticket does not wait for that one, or not any more, or has ended itself.
    """
    if command.state not in TICKET_ENDED:
        raise Invalid(field="state", reason=f"a ticket that is {command.state} has not ended")
    if not ticket.is_open or command.ticket not in ticket.waits_for:
        return ()
    if command.state is not TicketState.PASSED:
        reason = f"ticket {command.ticket}, for which it waited, has {_ENDED[command.state]}"
        return end_all(ticket, reason, e.TicketCancelled(reason=reason))
    passed = e.AwaitedPassed(ticket=command.ticket)
    if len(ticket.waits_for) > 1 or not ticket.sealed:
        return (passed,)
    return (passed, *all_ready(ticket))


_ENDED = {
    TicketState.FAILED: "failed",
    TicketState.ERRORED: "errored",
    TicketState.CANCELLED: "been cancelled",
    TicketState.SUPERSEDED: "been superseded",
    TicketState.EXPIRED: "expired",
}
