"""What the reactor knows, in PostgreSQL: a view whose folds also ask for something.

The newest of a key and the end of an awaited ticket are rows that are locked until the position
has moved. So two reactors whose partitions lag behind one another never miss each other: whoever
comes second finds what the first has written.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from adapters.codec import Codec
from adapters.log import Genesis
from adapters.postgres.connection import Address, translated
from adapters.postgres.statements import load
from adapters.postgres.views.view import Place, PlacedFold, PostgresView, prepare
from domain.envelope import Recorded, Submitted
from domain.policy import Ended, Heard, Matter, Opened, Reopened, matter, superseding, waiting
from domain.ticket.automata import TicketState
from domain.ticket.words import Precedence

if TYPE_CHECKING:
    from adapters.postgres.connection import Connection

SQL = load("reactor")


async def open_reactor(
    address: Address, genesis: Sequence[Genesis], codec: Codec, *, lease: float = 6.0
) -> PostgresView:
    """What the reactor knows at an address, made if it is not there.

    Raises WrongLog if it is of another log than the one with this *genesis*, and Unavailable.
    """
    anew = f"without schema {address.schema!r} the reactor begins anew, which repeats nothing"
    await prepare(address, "reactor", genesis, anew)
    return PostgresView("reactor", address, lambda place: ReactorFold(place, codec), lease, anew)


class ReactorFold(PlacedFold):
    """One partition's events as the policies see them; see `adapters.views.Reaction`."""

    def __init__(self, place: Place, codec: Codec) -> None:
        super().__init__(place)
        self._codec = codec
        self._unsent: list[Submitted] | None = None

    async def fold(self, events: Sequence[Recorded]) -> None:
        """Take the next events in; what follows from them is written down with the position.

        Most of them concern no policy, and only move it.
        """
        matters = [found for found in map(matter, events) if found is not None]
        if not matters:
            await self._place.pass_over(events[-1])
            return
        batch = Batch(matters)
        commands: list[Submitted] = []
        with translated():
            async with self._place.advanced(events[-1]) as connection:
                commands += await ask_superseding(connection, batch)
                commands += await ask_waiting(connection, batch)
                if commands:
                    await self._write_down(connection, commands)
        if self._unsent is not None:
            self._unsent += commands

    async def outbox(self) -> Sequence[Submitted]:
        """What is written down, and nobody knows to have been sent."""
        if self._unsent is None:
            with translated():
                found = await self._place.connection.fetch(SQL["outbox"], self.partition)
            decode = self._codec.decode_command
            self._unsent = [
                Submitted(
                    id=row["id"],
                    stream=row["stream"],
                    command=decode(row["topic"], row["schema"], row["data"]),
                    actor=row["actor"],
                )
                for row in found
            ]
        return self._unsent

    async def sent(self, commands: Sequence[Submitted]) -> None:
        """Keep these no more."""
        ids = {command.id for command in commands}
        with translated():
            await self._place.connection.execute(SQL["sent"], self.partition, list(ids))
        self._unsent = [command for command in await self.outbox() if command.id not in ids]

    async def _write_down(self, connection: "Connection", commands: Sequence[Submitted]) -> None:
        await connection.execute(
            SQL["write_down"],
            self.partition,
            [command.id for command in commands],
            [command.stream for command in commands],
            [command.actor for command in commands],
            [command.command.topic for command in commands],
            [command.command.schema for command in commands],
            [self._codec.encode_command(command.command) for command in commands],
        )


class Batch:
    """What concerns the policies in some events. Of a ticket that moved twice the last counts."""

    def __init__(self, matters: Iterable[Matter]) -> None:
        self.opened: list[Opened] = []
        self.heard: list[Heard] = []
        self.moved: dict[str, Ended | Reopened] = {}
        for one in matters:
            match one:
                case Opened():
                    self.opened.append(one)
                case Heard():
                    self.heard.append(one)
                case _:
                    self.moved[one.ticket] = one

    @property
    def ended(self) -> dict[str, Ended]:
        """Tickets that have ended since."""
        return {t: moved for t, moved in self.moved.items() if isinstance(moved, Ended)}

    @property
    def waiters(self) -> dict[str, Opened | Reopened]:
        """Tickets that begin to wait for others, or do so again."""
        begun: dict[str, Opened | Reopened] = {
            one.ticket: one for one in self.opened if one.waits_for
        }
        begun |= {t: moved for t, moved in self.moved.items() if isinstance(moved, Reopened)}
        return {ticket: one for ticket, one in begun.items() if ticket not in self.ended}


async def ask_superseding(connection: "Connection", batch: Batch) -> Sequence[Submitted]:
    """Remember what is open under which key, and ask for the end of what is not the newest."""
    keyed = [(one, one.precedence) for one in batch.opened if one.precedence is not None]
    if keyed:
        await connection.execute(
            SQL["open_keyed"],
            [one.ticket for one, _ in keyed],
            [_hash(precedence) for _, precedence in keyed],
            [precedence.order for _, precedence in keyed],
            [one.cause for one, _ in keyed],
        )
    if batch.moved:
        await connection.execute(
            SQL["move_keyed"],
            list(batch.moved),
            [one.cause if isinstance(one, Reopened) else None for one in batch.moved.values()],
        )
    if not keyed:
        return ()
    newest: dict[bytes, tuple[int, str, str]] = {}
    for one, precedence in keyed:
        key, place = _hash(precedence), (precedence.order, one.ticket, precedence.key)
        newest[key] = max(newest.get(key, place), place)
    keys = sorted(newest)
    await connection.execute(
        SQL["lock_newest"],
        keys,
        [newest[key][2] for key in keys],
        [newest[key][0] for key in keys],
        [newest[key][1] for key in keys],
    )
    return [
        command
        for row in await connection.fetch(SQL["older"], keys)
        for command in superseding([(row["ticket"], row["cause"])], row["newest"])
    ]


def _hash(precedence: Precedence) -> bytes:
    return blake2b(precedence.key.encode(), digest_size=16).digest()


async def ask_waiting(connection: "Connection", batch: Batch) -> Sequence[Submitted]:
    """Remember who waits and who has ended, and tell the ones of the others."""
    ended, waiters = batch.ended, batch.waiters
    pairs = [(one.ticket, awaited) for one in batch.opened for awaited in one.waits_for]
    if pairs:
        await connection.execute(SQL["await"], *zip(*pairs, strict=True))
    if batch.heard:
        heard = [(one.ticket, one.awaited) for one in batch.heard]
        await connection.execute(SQL["await_no_more"], *zip(*heard, strict=True))
    awaits = await connection.fetch(SQL["awaited_by"], list(waiters)) if waiters else []
    if not (batch.moved or awaits):
        return ()
    states = await _locked(connection, batch, {row["awaited"] for row in awaits})
    commands: list[Submitted] = []
    if ended:
        for row in await connection.fetch(SQL["waiters"], list(ended)):
            end = ended[row["awaited"]]
            commands += waiting(end.cause, end.ticket, end.state, [row["waiter"]])
    for row in awaits:
        waiter, awaited = row["waiter"], row["awaited"]
        state = states[awaited]
        if state is not None and awaited not in ended:
            commands += waiting(waiters[waiter].cause, awaited, TicketState(state), [waiter])
    return commands


async def _locked(
    connection: "Connection", batch: Batch, awaited: Collection[str]
) -> dict[str, str | None]:
    """How these tickets have ended, and nobody changes that before we are done."""
    ended = batch.ended
    tickets = sorted({*batch.moved, *awaited})
    states = [ended[ticket].state if ticket in ended else None for ticket in tickets]
    rows = await connection.fetch(SQL["lock_ends"], tickets, states, list(batch.moved))
    return {row["ticket"]: row["state"] for row in rows}
