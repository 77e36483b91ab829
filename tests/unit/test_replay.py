"""A ticket as it was, and what each of its events changed."""

from typing import Any

import hypothesis
import msgspec

from domain.ticket import commands as c
from projections.queries import TaskFilter
from projections.replay import Change, Replay, Step, difference, replay
from projections.then import as_it_was, tasks_of
from tests.unit.given import Given, claim, given, opening, passed, ran, start
from tests.unit.tables import Tables
from tests.unit.walks import Walk, taken, walks


def steps(ticket: Given) -> list[Step]:
    return list(replay(0, ticket.history))


def seen(ticket: Given, versions: int) -> Tables:
    tables = Tables()
    tables.follow([ticket.history[:versions]])
    return tables


def test_a_step_says_what_its_event_changed() -> None:
    ticket = given(opening("A"), claim("A"))
    last = steps(ticket)[-1]
    assert last.event.what.startswith("A: attempt 1 (w1, token 3) claimed")
    changes = {
        (change.row, change.column): (change.before, change.after) for change in last.changes
    }
    assert ("ready", "claimed") == changes["task A", "state"]
    assert (None, "w1") == changes["task A", "worker"]
    assert (1, 0) == changes["ticket", "waiting"]
    assert (None, "A") == changes["attempt 3", "task"]


def test_a_ticket_that_has_ended_is_replayed_through_its_rerun() -> None:
    ticket = given(opening("A"), *ran("A"), c.Rerun(), claim("A"), start("A"), passed("A"))
    states = [
        change.after
        for step in steps(ticket)
        for change in step.changes
        if (change.row, change.column) == ("ticket", "state")
    ]
    assert ["queued", "running", "passed", "running", "passed"] == states


def test_the_difference_between_two_versions_leaves_out_what_came_and_went() -> None:
    ticket = given(opening("A"), c.Hold(), c.Unhold(), c.ChangePriority(priority=3))
    folding = Replay(0)
    states = []
    for recorded in ticket.history:
        folding.fold(recorded)
        states.append(folding.rows)
    [changed] = [one for one in difference(states[1], states[-1]) if one.row == "ticket"]
    assert Change("ticket", "priority", 0, 3) == changed


@hypothesis.given(walks())
def test_the_steps_together_make_the_rows_of_the_views(walk: Walk) -> None:
    ticket = taken(walk)
    made: dict[str, dict[str, Any]] = {}
    for step in replay(0, ticket.history):
        for change in step.changes:
            made.setdefault(change.row, {})[change.column] = change.after
    tables = seen(ticket, len(ticket.history))
    for row in (*tables.tickets.values(), *tables.tasks.values()):
        name = f"task {row.task}" if hasattr(row, "task") else "ticket"
        expected = msgspec.to_builtins(row)
        for column, value in made[name].items():
            assert (name, column, expected[column]) == (name, column, value)


@hypothesis.given(walks())
def test_a_ticket_as_it_was_is_what_the_views_said_then(walk: Walk) -> None:
    ticket = taken(walk)
    for version in range(1, len(ticket.history) + 1):
        tables = seen(ticket, version)
        view = as_it_was(0, ticket.history[:version])
        assert view is not None
        assert [view.ticket] == list(tables.tickets.values())
        rows = tasks_of(view, TaskFilter(limit=1000)).rows
        assert sorted(tables.tasks.values(), key=lambda row: row.n) == rows


def test_the_tasks_of_then_come_in_pages() -> None:
    ticket = given(opening("A", "B", "C"))
    view = as_it_was(0, ticket.history)
    assert view is not None
    first = tasks_of(view, TaskFilter(limit=2))
    rest = tasks_of(view, TaskFilter(limit=2, cursor=first.next))
    assert ["A", "B", "C"] == [row.task for page in (first, rest) for row in page.rows]
    assert rest.next is None


def test_before_the_first_event_there_is_nothing() -> None:
    assert as_it_was(0, []) is None
