"""The automata: what the tables promise, and that nobody else says what may follow what."""

from enum import StrEnum

import pytest
from transitions import MachineError

from domain.automaton import Automaton
from domain.event import Event
from domain.ticket import events
from domain.ticket.automata import OPEN, RERUNNABLE, TASK, TICKET, TaskState, TicketState
from domain.ticket.events import EVENTS
from domain.worker.automata import WORKER

each = pytest.mark.parametrize(
    "automaton", [TASK, TICKET, WORKER], ids=["task", "ticket", "worker"]
)

AnyAutomaton = Automaton[StrEnum]


def successors(automaton: AnyAutomaton, state: StrEnum) -> set[StrEnum]:
    return {
        automaton.successor(state, event)
        for event in automaton.events
        if automaton.permits(state, event)
    }


@each
def test_an_event_leads_from_a_state_to_one_destination(automaton: AnyAutomaton) -> None:
    rows = [(edge.event, source) for edge in automaton.edges for source in edge.sources]
    assert sorted(set(rows), key=str) == sorted(rows, key=str)


def test_every_event_of_a_ticket_is_in_a_table_and_nothing_else_is() -> None:
    declared = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    }
    assert declared == set(EVENTS)
    assert declared == TASK.events | TICKET.events


def test_no_two_events_have_the_same_stored_name() -> None:
    assert len(EVENTS) == len({event.topic for event in EVENTS})
    assert [] == [event for event in EVENTS if "topic" not in vars(event)]


@each
def test_only_a_final_state_cannot_be_left(automaton: AnyAutomaton) -> None:
    stuck = {state for state in automaton.states if successors(automaton, state) <= {state}}
    assert automaton.final == stuck


def test_a_superseded_ticket_is_final_and_a_task_never_is() -> None:
    assert {TicketState.SUPERSEDED} == TICKET.final
    assert set() == TASK.final


@each
def test_every_state_is_reachable(automaton: AnyAutomaton) -> None:
    reached = [automaton.initial]
    for state in reached:
        reached += sorted(successors(automaton, state) - set(reached))
    assert set(automaton.states) == set(reached)


@each
def test_the_derived_table_says_what_the_machine_does(automaton: AnyAutomaton) -> None:
    class Model:
        state: StrEnum

    for state in automaton.states:
        for event in automaton.events:
            model = Model()
            automaton.machine.set_state(state, model)
            trigger = automaton.machine.events[event.__name__].trigger
            if automaton.permits(state, event):
                trigger(model)
                assert automaton.successor(state, event) is model.state
            else:
                with pytest.raises(MachineError):
                    trigger(model)
                assert state is model.state


@each
def test_what_is_not_permitted_has_no_successor(automaton: AnyAutomaton) -> None:
    for state in automaton.states:
        for event in automaton.events:
            if not automaton.permits(state, event):
                with pytest.raises(KeyError):
                    automaton.successor(state, event)


def test_opening_is_an_edge_like_any_other() -> None:
    assert TaskState.BLOCKED is TASK.successor(TaskState.ABSENT, events.TicketOpened)
    assert TicketState.QUEUED is TICKET.successor(TicketState.ABSENT, events.TicketOpened)


def test_an_ended_ticket_runs_again_by_a_reset_and_by_nothing_else() -> None:
    for state in RERUNNABLE:
        leaving = {
            event
            for event in TICKET.events
            if TICKET.permits(state, event) and TICKET.successor(state, event) is not state
        }
        assert {events.TasksReset} == leaving
        assert TicketState.RUNNING is TICKET.successor(state, events.TasksReset)


def test_a_ticket_is_open_or_ended_or_not_there() -> None:
    assert set(TicketState) == {
        TicketState.ABSENT,
        *OPEN,
        *RERUNNABLE,
        TicketState.SUPERSEDED,
    }


@each
def test_the_diagram_names_every_state_and_every_edge(automaton: AnyAutomaton) -> None:
    diagram = automaton.diagram()
    arrows = {
        (source.strip(), destination): labels.split(" | ")
        for line in diagram.splitlines()
        if ": " in line
        for source, _, rest in [line.partition(" --> ")]
        for destination, _, labels in [rest.partition(": ")]
    }
    for state in automaton.states:
        assert f'state "{state.name}" as {state.name}\n' in diagram
        for event in automaton.events:
            if automaton.permits(state, event):
                arrow = (state.name, automaton.successor(state, event).name)
                assert event.__name__ in arrows[arrow]


@each
def test_the_diagram_is_the_same_text_every_time(automaton: AnyAutomaton) -> None:
    again = Automaton(automaton.states, automaton.initial, automaton.edges, automaton.final)
    assert automaton.diagram() == again.diagram()
    assert automaton.diagram().startswith("stateDiagram-v2\n")


@each
def test_the_diagram_marks_no_present_state(automaton: AnyAutomaton) -> None:
    assert "s_" not in automaton.diagram()
    assert "lass" not in automaton.diagram()
