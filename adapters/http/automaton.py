"""The endpoint of the automata: what may follow what, as the domain's tables have it."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from adapters.http.endpoint import Endpoint
from domain.automaton import Automaton, Edge
from domain.ticket.automata import TASK, TICKET
from domain.worker.automata import WORKER


class Transition(Struct, frozen=True, kw_only=True):
    """The type of event that leads from a state to another."""

    event: str
    source: str = msgspec.field(name="from")
    to: str


class Described(Struct, frozen=True):
    """An automaton. What has a `final` state never leaves it; `mermaid` is a drawing, as text."""

    initial: str
    states: tuple[str, ...]
    final: tuple[str, ...]
    edges: tuple[Transition, ...]
    mermaid: str


class Automata(Struct, frozen=True):
    """Those of a ticket, of each of its tasks, and of a worker."""

    ticket: Described
    task: Described
    worker: Described


def endpoints() -> tuple[Endpoint, ...]:
    """The automata."""
    return (Endpoint("GET", "/v1/automaton", "What may follow what", Automata, automaton),)


async def automaton() -> Automata:
    """All automata."""
    return AUTOMATA


def _described(one: Automaton[Any]) -> Described:
    return Described(
        initial=one.initial.value,
        states=tuple(state.value for state in one.states),
        final=tuple(state.value for state in one.states if state in one.final),
        edges=tuple(
            Transition(event=edge.event.topic, source=source.value, to=_to(one, edge, source))
            for edge in one.edges
            for source in edge.sources
        ),
        mermaid=one.diagram(),
    )


def _to(one: Automaton[Any], edge: Edge[Any], source: Any) -> str:
    to: str = one.successor(source, edge.event).value
    return to


AUTOMATA: Final = Automata(
    ticket=_described(TICKET), task=_described(TASK), worker=_described(WORKER)
)
