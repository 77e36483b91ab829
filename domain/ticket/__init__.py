"""The ticket: one subject under test and the workflow to run on it.

`decide` says what follows from a command, `state.evolve` what an event changes, `automata` what
may follow what, `events` and `commands` in which words.
"""

from domain.decider import Decider
from domain.ticket.commands import COMMANDS
from domain.ticket.decide import decide
from domain.ticket.events import EVENTS
from domain.ticket.state import Ticket, evolve, has_ended

TICKETS = Decider(
    kind="ticket",
    state=Ticket,
    initial=Ticket,
    decide=decide,
    evolve=evolve,
    events=EVENTS,
    commands=COMMANDS,
    closed=has_ended,
)
