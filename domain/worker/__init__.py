"""The worker: a machine's runner that claims tasks, as long as it is heard of.

`decide` says what follows from a command, `state.evolve` what an event changes, `automata` what
may follow what, `events` and `commands` in which words. What it works on is no affair of its
stream: attempts belong to their tickets.
"""

from domain.decider import Decider
from domain.worker.commands import COMMANDS
from domain.worker.decide import decide
from domain.worker.events import EVENTS
from domain.worker.state import Worker, evolve, is_gone

WORKERS = Decider(
    kind="worker",
    state=Worker,
    initial=Worker,
    decide=decide,
    evolve=evolve,
    events=EVENTS,
    commands=COMMANDS,
    closed=is_gone,
)
