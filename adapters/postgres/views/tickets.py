"""The views of tickets in PostgreSQL."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from adapters.log import Genesis
from adapters.postgres.connection import Address, translated
from adapters.postgres.statements import load
from adapters.postgres.views import rows
from adapters.postgres.views.view import Place, PlacedFold, PostgresView, prepare
from domain.envelope import Recorded
from domain.stream import VersionGap
from domain.ticket.automata import AT_WORK
from projections.rows import Attempt, Result, Task, Ticket
from projections.tickets import KIND, Changes, Loaded, Unknown, Views

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("views")

FORM = 3
"""The form of the tables."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode

log = structlog.get_logger()


async def open_tickets(
    address: Address, genesis: Sequence[Genesis], *, lease: float = 6.0
) -> PostgresView:
    """The views of tickets at an address, made if they are not there.

    Tickets, tasks, attempts and results are one fold, so that they are never at odds. Raises
    WrongLog if they are of another log than the one with this *genesis*, and Unavailable.
    """
    await prepare(address, "tickets", genesis, form=FORM)
    return PostgresView("tickets", address, TicketsFold, lease, is_durable=False)


class TicketsFold(PlacedFold):
    """One partition of the views of tickets."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._views = Views(place.partition)
        self._classes: set[str] = set()

    async def fold(self, events: Sequence[Recorded]) -> None:
        """Fold the next events; rows and position become true in one transaction."""
        with translated():
            if unknown := self._views.unknown(events):
                self._views.load(await loaded(self._place.connection, unknown))
            for n, recorded in enumerate(events):
                try:
                    self._views.fold(recorded)
                except Exception as error:
                    await self._place.check()  # else what was loaded is ahead of us
                    if isinstance(error, VersionGap):
                        raise
                    await self._put_aside(recorded, events[:n], error)
            changes = self._views.changes()
            classes = self._new_classes(changes.new_tasks)
            async with self._place.advanced(events[-1]) as connection:
                await write(connection, changes)
                if classes:
                    await connection.execute(
                        SQL["add_classes"], list(classes), list(classes.values())
                    )
            self._classes |= classes.keys()

    def _new_classes(self, tasks: Sequence[Task]) -> dict[str, str]:
        """The classes of new tasks, as far as it is not known that they are written."""
        return {
            task.class_: _encode(task.spec.requires).decode()
            for task in tasks
            if task.class_ not in self._classes
        }

    async def _put_aside(
        self, recorded: Recorded, before: Sequence[Recorded], error: Exception
    ) -> None:
        """As in the engine: one ticket that cannot be folded must not stop the others.

        Its rows stay as they were before the event that cannot be.
        """
        stream = recorded.originator_id
        log.critical(
            "view_quarantined",
            stream=stream,
            version=recorded.originator_version,
            sequence=recorded.sequence,
            exc_info=error,
        )
        id_ = stream.removeprefix(KIND)
        self._views.forget(id_)
        own = [event for event in before if event.originator_id == stream]
        self._views.load(await loaded(self._place.connection, self._views.unknown(own)))
        for event in own:
            self._views.fold(event)
        self._views.quarantine(id_, f"version {recorded.originator_version}: {error!r}")


async def loaded(connection: "Connection", unknown: Unknown) -> Loaded:
    """What the rows say."""
    tickets = await connection.fetch(SQL["tickets"], list(unknown.tickets))
    tasks: dict[tuple[str, str], Task] = {}
    for statement, wanted in (
        ("tasks", tuple(zip(*unknown.tasks, strict=True)) or ((), ())),
        ("tasks_in_queue", (list(unknown.queues),)),
    ):
        if any(wanted):
            for record in await connection.fetch(SQL[statement], *wanted):
                task = rows.read(Task, record)
                tasks[task.ticket, task.task] = task
    at_work = [(task.ticket, task.token) for task in tasks.values() if task.state in AT_WORK]
    attempts = (
        await connection.fetch(SQL["attempts"], *zip(*at_work, strict=True)) if at_work else ()
    )
    return Loaded(
        [rows.read(Ticket, record) for record in tickets],
        list(tasks.values()),
        [rows.read(Attempt, record) for record in attempts],
    )


async def write(connection: "Connection", changes: Changes) -> None:
    """Insert what is new and update what has changed."""
    await _insert(connection, "tickets", Ticket, changes.new_tickets)
    await _insert(connection, "tasks", Task, changes.new_tasks)
    await _insert(connection, "attempts", Attempt, changes.new_attempts)
    await _insert(connection, "results", Result, changes.results)
    for statement, changed in (
        ("update_tickets", changes.tickets),
        ("update_tasks", changes.tasks),
        ("update_attempts", changes.attempts),
    ):
        if changed:
            await connection.execute(SQL[statement], *rows.changed(changed))
    if changes.refused:
        await connection.execute(SQL["refuse"], *zip(*changes.refused, strict=True))
    if changes.problems:
        await connection.execute(SQL["quarantine"], *zip(*changes.problems, strict=True))


async def _insert(
    connection: "Connection", table: str, kind: type[Any], inserted: Sequence[Any]
) -> None:
    if inserted:
        await connection.copy_records_to_table(
            table, records=rows.written(inserted), columns=rows.columns(kind)
        )
