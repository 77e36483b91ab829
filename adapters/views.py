"""The views' port: what a projector asks of a view, whatever it is folded into.

A view shares its partitions among the processes that fold it, as the log does among engines. Its
rows and how far it has come become true together.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from uuid import UUID

from msgspec import Struct

from domain.envelope import Recorded, Submitted

REST: Final = 0.25
"""Seconds for which a position may not be written down that events have moved which tell nothing.

Shorter than what lies between two looks at a view, or it would seem to stand.
"""


class Fold(Protocol):
    """The right to fold one partition, until somebody else has it."""

    partition: int

    @property
    def owes(self) -> bool:
        """Whether it has come further than is written down, past events that tell it nothing."""
        ...

    @property
    def sequence(self) -> int:
        """That of the last event that was folded, 0 at first."""
        ...

    @property
    def event(self) -> UUID | None:
        """Its id."""
        ...

    async def fold(self, events: Sequence[Recorded]) -> None:
        """Fold the next events; when it returns, rows and position are true.

        The position of events that tell it nothing may be written down later: see `owes`.

        After any error the fold is over: release it, and take the partition again.

        Raises:
            Fenced: somebody else folds the partition; nothing was written.
            Unavailable: nobody knows what was written.
            VersionGap: the events are not the next ones.
        """
        ...

    async def rest(self) -> None:
        """Write down how far it has come; nothing more comes for now. Raises as `fold` does."""
        ...

    async def release(self) -> None:
        """Give the partition back."""
        ...


class Reaction(Fold, Protocol):
    """A fold that asks for something because of the events.

    Its commands are written down with its rows, and kept until they have been sent.
    """

    async def outbox(self) -> Sequence[Submitted]:
        """What is written down, and nobody knows to have been sent."""
        ...

    async def sent(self, commands: Sequence[Submitted]) -> None:
        """Keep these no more. Raises Unavailable."""
        ...


class Folding(Protocol):
    """One process among those that share the partitions of a view."""

    async def granted(self) -> frozenset[int]:
        """Wait for a change in what this one may fold, and say what that is now."""
        ...

    async def take(self, partition: int) -> Fold:
        """Fence whoever folded the partition before. Raises Fenced, Unavailable."""
        ...


class Folded(Struct, frozen=True):
    """How far one partition of a view is, and who has it; as `adapters.log.Standing`."""

    partition: int
    sequence: int
    owner: str | None = None
    lease: float | None = None
    vacant: float | None = None


class View(Protocol):
    """Rows that are folded from the log. Its `name` is for people and for `rebuild`."""

    name: str
    anew: str
    """What has it folded anew, for people to read."""

    def join(self, name: str) -> AbstractAsyncContextManager[Folding]:
        """Be one of the processes that fold this view, under a name for people to read."""
        ...

    async def standings(self) -> Sequence[Folded]:
        """How far every partition is, and who has it. Raises Unavailable."""
        ...
