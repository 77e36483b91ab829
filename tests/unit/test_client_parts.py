"""Large tickets go in parts that the rules take one after the other, to the same end."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from adapters.client import Opening, Run, Subject, TaskSpec
from adapters.client.parts import PART, split
from adapters.client.requests import Requests
from adapters.client.workflow import encode, encode_body, encode_value
from adapters.requests import command_id
from domain.ticket.commands import AddTasks, Open, Seal
from tests.unit.given import Given

SUBJECT = Subject("commit", "tower", "main", "c0ffee")


@st.composite
def openings(draw: st.DrawFn) -> Opening:
    """Tickets of some megabytes at most, whose tasks need others, in no order."""
    count = draw(st.integers(1, 40))
    order = draw(st.permutations(range(count)))
    tasks = []
    for place, n in enumerate(order):
        needs = (
            draw(st.lists(st.sampled_from(order[:place]), unique=True, max_size=3)) if place else []
        )
        size = draw(st.sampled_from((10, 50_000, 150_000)))
        run = Run("shell", {"command": "x" * size})
        tasks.append(TaskSpec(f"t{n}", run, needs=tuple(f"t{need}" for need in needs)))
    tasks.sort(key=lambda task: int(task.name[1:]))
    return Opening(id="9", subject=SUBJECT, tasks=tuple(tasks))


@settings(max_examples=40, deadline=None)
@given(openings())
def test_the_parts_together_are_the_ticket(opening: Opening) -> None:
    head, more = split(opening)
    sizes = [len(encode(head)), *(len(encode_value({"tasks": tasks})) for tasks in more)]
    assert max(sizes) <= PART + 12
    ticket = Given(json.decode(encode_body(head), type=Open))
    for tasks in more:
        ticket.after(json.decode(encode_value({"tasks": tasks}), type=AddTasks))
    if more:
        ticket.after(Seal())
    else:
        assert opening == head
    assert {task.name for task in opening.tasks} == set(ticket.tasks)
    assert ticket.ticket.sealed
    assert (head, more) == split(opening)


def test_the_same_ticket_makes_the_same_requests() -> None:
    small = Opening(id="9", subject=SUBJECT, tasks=(TaskSpec("A", Run("shell")),))
    other = Opening(id="9", subject=SUBJECT, tasks=(TaskSpec("B", Run("shell")),))
    requests = Requests("/forge")
    [first], [again], [another] = (list(requests.of(each)) for each in (small, small, other))
    assert first == again
    assert command_id(first.source, first.id) != command_id(another.source, another.id)
