"""A ticket as it was: the rows that follow from the first of its events."""

from collections.abc import Iterable

from domain.envelope import Recorded
from projections.queries import Page, Small, TaskFilter, cursor, place
from projections.rows import Task
from projections.tickets import KIND, View, Views


def as_it_was(partition: int, events: Iterable[Recorded]) -> View | None:
    """The ticket's rows after these events, its first ones in order; None if there are none.

    Raises VersionGap if they do not follow one another.
    """
    views, view = Views(partition), None
    for recorded in events:
        views.fold(recorded)
        view = views.known(recorded.originator_id.removeprefix(KIND))
    return view


def tasks_of(view: View, asked: TaskFilter) -> Page[Task]:
    """Its tasks, as the query of the present ones would give them. Raises Invalid."""
    after = -1 if asked.cursor is None else place(asked.cursor, tuple[Small])[0]
    rows = [
        task
        for task in sorted(view.tasks.values(), key=lambda task: task.n)
        if task.n > after and (not asked.state or task.state in asked.state)
    ]
    if len(rows) <= asked.limit:
        return Page(rows)
    rows = rows[: asked.limit]
    return Page(rows, cursor((rows[-1].n,)))
