"""What has happened to a ticket or a worker, and what it was like at any time."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import click
import msgspec
from rich.text import Text

from adapters.client import Client, Event
from adapters.codec import Codec
from domain.envelope import Recorded
from domain.kinds import DECIDERS
from projections import history as told
from projections.replay import Change, Replay, Step, WorkerReplay, difference
from workers.cli import main
from workers.cli.completing import TICKET
from workers.cli.output import as_json, console, print_json
from workers.cli.talking import EXIT_MISSING, fail, talk
from workers.cli.tickets import MOMENT, Moment

WORKER = "worker/"
"""How the stream of a worker begins; anything else is a ticket's."""

LONGEST = 60
"""Characters of a value that a change shows."""


@main.command()
@click.argument("ticket", type=TICKET)
@click.option("--after", type=click.IntRange(0), default=0, help="Behind this version.")
@as_json
def history(ticket: str, after: int, in_json: bool) -> None:
    """Tell what has happened to a TICKET, or to worker/NAME: who did what, why, and when."""

    async def ask(client: Client) -> None:
        events = [event async for event in _events(client, ticket, version=after)]
        if in_json:
            for event in events:
                print_json(event)
        else:
            out = console()
            for line in told.lines([row_of(event) for event in events]):
                out.print(Text(line))

    talk(ask)


@main.command()
@click.argument("ticket", type=TICKET)
@click.option("--version", type=click.IntRange(1), help="Until this version.")
@click.option("--at", type=MOMENT, help=f"Until then: {Moment.__doc__}")
@click.option("--until-event", metavar="ID", type=click.UUID, help="Until this event.")
@click.option(
    "--diff", nargs=2, type=click.IntRange(0), help="Only what differs between versions A and B."
)
@as_json
def replay(
    ticket: str,
    version: int | None,
    at: datetime | None,
    until_event: UUID | None,
    diff: tuple[int, int] | None,
    in_json: bool,
) -> None:
    """Fold a TICKET, or worker/NAME, again from its events, and show what each of them changed.

    In the end it shows what it was like after the last of them. Nothing is changed by it.
    """
    if diff is not None:
        version = max(diff)

    async def ask(client: Client) -> None:
        found = [event async for event in _events(client, ticket, until=version, at=at)]
        events = _until(found, ticket, until_event)
        if diff is not None and max(diff) > len(events):
            fail(EXIT_MISSING, f"{ticket} has come to version {len(events)} only")
        folding = WorkerReplay(0) if ticket.startswith(WORKER) else Replay(0)
        steps: list[Step] = []
        states: list[dict[str, dict[str, Any]]] = [{}]
        for event in events:
            steps.append(folding.fold(event))
            if diff is not None:
                states.append(folding.rows)
        if diff is not None:
            _tell(list(difference(states[min(diff)], states[max(diff)])), in_json=in_json)
        elif in_json:
            for step in steps:
                print_json(step)
        else:
            _tell_steps(steps)
            _tell_state(folding)

    talk(ask)


def _events(client: Client, of: str, **asked: Any) -> AsyncIterator[Event]:
    if of.startswith(WORKER):
        return client.worker_events(of.removeprefix(WORKER), **asked)
    return client.events(of, **asked)


def _until(events: Sequence[Event], ticket: str, last: UUID | None) -> list[Recorded]:
    codec = Codec(DECIDERS)
    facts = [_recorded(event, ticket, codec) for event in events]
    if last is None:
        return facts
    place = next((n for n, fact in enumerate(facts, start=1) if fact.id == last), 0)
    if not place:
        hint = "`turnstile history --json` has their ids."
        fail(EXIT_MISSING, f"{ticket} has no event {last}", hint)
    return facts[:place]


def _recorded(event: Event, ticket: str, codec: Codec) -> Recorded:
    """The event as the log has it."""
    return Recorded(
        id=UUID(event.id),
        originator_id=ticket if ticket.startswith(WORKER) else f"ticket/{ticket}",
        originator_version=event.version,
        event=codec.decode_newest(event.type, msgspec.json.encode(event.data)),
        time=event.time,
        actor=event.actor,
        causationid=UUID(event.command),
        sequence=event.sequence,
    )


def row_of(event: Event) -> told.Row:
    """The event as a history tells it."""
    return told.Row(
        version=event.version,
        time=event.time,
        since=None if event.seconds is None else timedelta(seconds=event.seconds),
        actor=event.actor,
        what=event.what,
        details=event.details,
        id=UUID(event.id),
        command=UUID(event.command),
        sequence=event.sequence,
        traceparent=None,
    )


def _tell_steps(steps: Sequence[Step]) -> None:
    out, there = console(), set[str]()
    for step in steps:
        time = f"{told.day(step.event.time)} {told.clock(step.event.time)}"
        out.print(
            Text.assemble(
                (f"{step.event.version:>4}  ", "bold"),
                (f"{time}  ", "dim"),
                (f"{step.event.actor}  ", "cyan"),
                step.event.what,
            )
        )
        for row, group in groupby(step.changes, lambda change: change.row):
            changes = list(group)
            if row not in there:
                there.add(row)
                state = next((c.after for c in changes if c.column in ("state", "outcome")), "")
                out.print(
                    Text.assemble((f"        {row}  ", "dim"), ("is there  ", "green"), state)
                )
            else:
                for change in changes:
                    out.print(_line(change))


def _tell_state(folding: Replay | WorkerReplay) -> None:
    if folding.view is None:
        return
    out = console()
    out.print()
    if isinstance(folding, WorkerReplay):
        worker = folding.view
        out.print(
            Text(f"{worker.worker} is {worker.state} then, at version {worker.version}.", "bold")
        )
        return
    row = folding.view.ticket
    out.print(Text(f"{row.ticket} is {row.state} then, at version {row.version}:", "bold"))
    for name, task in folding.view.tasks.items():
        out.print(Text.assemble(f"  {name}  ", (str(task.state), "cyan")))


def _tell(changes: Sequence[Change], *, in_json: bool) -> None:
    if in_json:
        for change in changes:
            print_json(change)
        return
    out = console()
    for change in changes:
        out.print(_line(change))
    if not changes:
        out.print(Text("Nothing is different.", "dim"))


def _line(change: Change) -> Text:
    return Text.assemble(
        (f"        {change.row}.{change.column}  ", "dim"),
        (_value(change.before), "red"),
        (" → ", "dim"),
        (_value(change.after), "green"),
    )


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        try:
            return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
        except ValueError:
            text = value or "''"
    else:
        text = msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
