"""An automaton is data: edges of (event, sources, destination), declared once with `transitions`.

The `transitions` machine is the only source of what may follow what. The table that `permits`
and `successor` read is derived from it once, because asking the machine costs a hundred times
as much as a look-up; a test compares both.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct
from transitions import Machine

from domain.event import Event

S = TypeVar("S", bound=StrEnum)


class _Same:
    """The destination of an event that leaves the state as it is."""


SAME: Final = _Same()


_COLOURS: Final = ("classDef ", "Class ")
"""How the lines of a drawing begin that only mark a model's present state."""


class _Drawn:
    """A model to draw: without one `transitions` draws nothing."""

    get_graph: Callable[[], Any]


class Edge(Struct, Generic[S], frozen=True):
    """*event* leads from each of *sources* to *destination*."""

    event: type[Event]
    sources: tuple[S, ...]
    destination: S | _Same


class Automaton(Generic[S]):
    """Which event may happen in which state, and where it leads.

    >>> from domain.ticket.automata import TASK, TaskState
    >>> from domain.ticket.events import TaskClaimed
    >>> TASK.permits(TaskState.BLOCKED, TaskClaimed)
    False
    >>> TASK.successor(TaskState.READY, TaskClaimed)
    <TaskState.CLAIMED: 'claimed'>
    """

    def __init__(
        self, states: type[S], initial: S, edges: Iterable[Edge[S]], final: frozenset[S]
    ) -> None:
        self.states = states
        self.initial = initial
        self.edges = tuple(edges)
        self.final = final
        self.events = frozenset(edge.event for edge in self.edges)
        self.machine = self.declare(Machine)
        self._successors = self._derive(self.machine)

    def declare(self, engine: type[Machine], **options: Any) -> Machine:
        """The automaton on an *engine*: the plain machine to ask, a graph machine to draw."""
        return engine(
            **{"model": None, **options},
            states=self.states,
            initial=self.initial,
            auto_transitions=False,
            transitions=[
                {
                    "trigger": edge.event.__name__,
                    "source": list(edge.sources),
                    "dest": "=" if isinstance(edge.destination, _Same) else edge.destination,
                }
                for edge in self.edges
            ],
        )

    def diagram(self) -> str:
        """The automaton as a Mermaid state diagram: the same text for the same table."""
        from transitions.extensions import GraphMachine  # it loads asyncio; only drawing needs it

        drawn = _Drawn()
        self.declare(GraphMachine, model=drawn, graph_engine="mermaid")
        lines = drawn.get_graph().source.splitlines()
        kept = (line.rstrip() for line in lines[lines.index("stateDiagram-v2") :])
        return "".join(f"{line}\n" for line in kept if not line.lstrip().startswith(_COLOURS))

    def _derive(self, machine: Machine) -> Mapping[type[Event], Mapping[S, S]]:
        return {
            event: {
                self.states[source]: self.states[str(found[0].dest)]
                for source, found in machine.events[event.__name__].transitions.items()
            }
            for event in self.events
        }

    def permits(self, state: S, event: type[Event]) -> bool:
        """Whether *event* may happen in *state*."""
        return state in self._successors[event]

    def successor(self, state: S, event: type[Event]) -> S:
        """The state after *event*. Raises KeyError if the event may not happen in *state*."""
        return self._successors[event][state]
