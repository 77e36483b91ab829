"""The log's port: what Turnstile asks of any log, and nothing that only one of them can do.

A log is partitions of commands (the inbox) and of events. Only the owner of a partition appends
events to it, and the log fences older owners. One commit makes a batch's events and the position
up to which it has decided true together; replies follow it and may be lost.

    send ──► inbox ──► Owner.receive → decide → Owner.commit ──► follow
                                                └── replies ──► Replies

`tests/contract` is the other half of this file: each adapter passes it, on a real server.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct

from domain.envelope import Answer, Recorded, Submitted


class Genesis(Struct, frozen=True):
    """What a partition says of itself: the log's format, its number of partitions, its own id."""

    format: int
    partitions: int
    id: UUID


class Received(Struct, frozen=True):
    """A command as it came in: at which position, and when by the log's clock.

    One that cannot be understood has a `problem` and no `submitted`; who asked is known all the
    same, if that much could be read. `raw` is the log's own.
    """

    position: int
    at: datetime
    submitted: Submitted | None
    problem: str = ""
    id: UUID | None = None
    reply_to: str | None = None
    raw: Any = None

    def unfit(self, problem: str) -> "Received":
        """The same as one that cannot be understood."""
        if self.submitted is None:
            return self
        id_, to = self.submitted.id, self.submitted.reply_to
        return Received(self.position, self.at, None, problem, id_, to, self.raw)


class DeadLetter(Struct, frozen=True):
    """A command put aside, and why."""

    received: Received
    reason: str


class Encoded(Struct, frozen=True):
    """An event with its `data` as the codec encoded it, so that its size is known beforehand."""

    recorded: Recorded
    data: bytes


class Reply(Struct, frozen=True):
    """An answer on its way to the asker at `address`."""

    address: str
    answer: Answer


class Decided(Struct, frozen=True):
    """What came of a batch: all of it is committed, or nothing."""

    upto: int
    events: Sequence[Encoded] = ()
    dead: Sequence[DeadLetter] = ()
    replies: Sequence[Reply] = ()


class Standing(Struct, frozen=True):
    """How far one partition is, and who has it; all at one look.

    `inbox` is the position of the last command that came in, `decided` that of the last one that
    was decided, `events` the sequence of the last event. The `owner` keeps the partition for
    `lease` seconds more; without one it has been `vacant` for so many. What a log does not know is
    None.
    """

    partition: int
    inbox: int
    decided: int
    events: int
    owner: str | None = None
    lease: float | None = None
    vacant: float | None = None


class Owner(Protocol):
    """The right to append to one partition, until somebody else has it.

    The order of a takeover, and no other: `Membership.take` has fenced the owner before; read
    `history` to its end; `resume` behind what was decided; only then `receive`.
    """

    partition: int
    genesis: Genesis

    def history(self, after: int = 0) -> AsyncIterator[Sequence[Recorded]]:
        """All events behind sequence *after* that were committed before the fence."""
        ...

    async def resume(self, upto: int) -> int:
        """Begin to receive behind the last decided position, *upto* at the least; say which."""
        ...

    async def receive(self, limit: int, timeout: float) -> Sequence[Received]:
        """The next commands in order; none if none came within *timeout* seconds."""
        ...

    async def commit(self, decided: Decided) -> None:
        """Make it true, then send the replies.

        After any error the owner is over: release it, and take the partition over again.

        Raises:
            Fenced: somebody else owns the partition; nothing was written.
            Rejected: the log will not have something in it; nothing was written.
            Unavailable: nobody knows what was written.
        """
        ...

    async def release(self) -> None:
        """Give the partition back."""
        ...


class Membership(Protocol):
    """One engine among those that share the partitions of a log evenly."""

    async def granted(self) -> frozenset[int]:
        """Wait for a change in what this member may own, and say what that is now."""
        ...

    async def take(self, partition: int) -> Owner:
        """Fence the owner before, and own the partition.

        Raises:
            Fenced: it is not granted, or somebody else has it.
            ClockAhead: this machine's clock is ahead of the log's.
        """
        ...


class Replies(Protocol):
    """Where answers arrive. `address` goes into the commands as `reply_to`."""

    address: str

    async def receive(self) -> Sequence[Answer]:
        """Wait for the next answers."""
        ...


class Log(Protocol):
    """Partitions of commands and of events."""

    partitions: int

    async def send(self, commands: Sequence[Submitted]) -> None:
        """Put commands into the inbox of their streams' partitions, in order for each.

        When it returns they are durable. Raises `domain.errors.Invalid` before anything is sent,
        for what is wrong with the envelope or larger than a record may be; and Unavailable.
        """
        ...

    def replies(self) -> AbstractAsyncContextManager[Replies]:
        """An address for answers, as long as the context lasts."""
        ...

    def follow(
        self, partition: int, after: int = 0, *, stored: bool = False
    ) -> AsyncGenerator[Sequence[Recorded], None]:
        """The committed events behind sequence *after*, in order, for ever.

        With *stored* each is a `Stored`, for those who keep its data.

        Raises:
            Gap: the log lacks a sequence.
            FutureEvent: an event's type or schema is newer than this process.
        """
        ...

    async def end(self, partition: int) -> int:
        """The sequence of the last committed event, 0 if there is none."""
        ...

    async def inbox_end(self, partition: int) -> int:
        """The position of the last command that came in, 0 if there is none."""
        ...

    async def standings(self) -> Sequence[Standing]:
        """How far every partition is, and who has it."""
        ...

    async def genesis(self, partition: int) -> Genesis:
        """What the partition says of itself."""
        ...

    def join(self, name: str) -> AbstractAsyncContextManager[Membership]:
        """Be one of the engines of this log, under a name for people to read."""
        ...


class LogError(Exception):
    """The log cannot do what was asked."""


class Fenced(LogError):
    """Somebody else owns the partition."""


class ClockAhead(LogError):
    """This machine's clock is ahead of the log's, and would stamp events with a time to come."""


class Unavailable(LogError):
    """The log does not answer; what was under way may have happened or not."""


class Rejected(LogError):
    """The log will not have something in the batch, however often it is tried."""


class Gap(LogError):
    """The log lacks a sequence."""


class WrongLog(LogError):
    """This is not the log that the configuration means."""
