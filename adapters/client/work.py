"""What a runner asks of a server: to be a worker under a name, tasks, and to be heard."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final
from uuid import UUID, uuid4

from msgspec import Meta, Struct

from .closing import Closing
from .connection import LONGEST, Connection, path
from .reporting import Answer, send
from .rows import Steered
from .steering import some
from .workflow import Id, Requirements, encode_value
from .working import AttemptRef, Beat, ClaimRequest, Claims, Heartbeat, Report

PATIENCE: Final = 30.0
"""Seconds for which an answer is worth waiting."""


class Registration(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A runner wants to work under a name.

    `home` is a random id that it keeps on its disk, `session` one of its process. It takes tasks
    that require no more than its `capabilities`, and so many at once as it has `slots`.
    """

    session: Id
    home: Id
    capabilities: Requirements = {}
    slots: Annotated[int, Meta(ge=1, le=1_000)] = 1


class Registered(Struct, frozen=True):
    """The name is the runner's. It is to be heard of every `beat` seconds.

    One that is `draining` is to finish what it has, and gets nothing more.
    """

    worker: str
    version: int
    state: str
    beat: float


class WorkerClient(Closing):
    """One session of one worker. Each change is made once, however often it is asked for.

    Raises:
        Conflict: the name is another machine's (`name-taken`), or a newer process of this one has
            it (`superseded-session`): then kill what runs, and end.
        Refused: what was asked is not done; see `turnstile.errors` for why.
        Unanswered: nobody has answered for `patience` seconds; the same can be asked again.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        worker: str,
        session: str,
        patience: float = PATIENCE,
    ) -> None:
        self.worker = worker
        self.session = session
        self.connection = Connection(base_url, token, patience)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.connection.url!r}, {self.worker!r})"

    async def close(self) -> None:
        """End its connections; the worker stays until it has left, or is missed."""
        await self.connection.close()

    async def register(
        self,
        home: str,
        capabilities: Mapping[str, Sequence[str]] | None = None,
        slots: int = 1,
        *,
        key: UUID | None = None,
    ) -> Registered:
        """Take the name for this session."""
        has = {what: tuple(values) for what, values in (capabilities or {}).items()}
        registration = Registration(self.session, home, has, slots)
        return await self.connection.ask(
            "PUT",
            path("workers", self.worker),
            Registered,
            body=encode_value(registration),
            key=key or uuid4(),
        )

    async def leave(self, *, reason: str = "", key: UUID | None = None) -> Steered:
        """Give the name back; what it still has is lost when its leases are."""
        return await self.connection.ask(
            "POST",
            path("workers", self.worker, "leave"),
            Steered,
            body=encode_value(some(session=self.session, reason=reason or None)),
            key=key or uuid4(),
        )

    async def claim(
        self,
        tasks: int = 1,
        *,
        wait: float = 0.0,
        only: Iterable[str] = (),
        request: UUID | None = None,
    ) -> Claims:
        """So many tasks at most; if there is none, the first that come within `wait` seconds.

        They are *only* such as require something of each of these, as `gpu`; with `worker`, as
        require this worker by its name. Where there was no answer, the same `request` gets what it
        would have got.
        """
        request = request or uuid4()
        asked = ClaimRequest(
            session=self.session, request=str(request), tasks=tasks, wait=wait, only=tuple(only)
        )
        return await self.connection.ask(
            "POST",
            path("workers", self.worker, "claims"),
            Claims,
            body=encode_value(asked),
            key=request,
            held=wait,
        )

    async def beat(
        self, attempts: Iterable[tuple[str, int]] = (), *, longest: float = LONGEST
    ) -> Beat:
        """Be heard of, and keep these attempts, each a ticket and a token; at most 1,000.

        Where nobody answers it is tried again after *longest* seconds, or sooner.
        """
        named = tuple(AttemptRef(ticket, token) for ticket, token in attempts)
        return await self.connection.ask(
            "POST",
            path("workers", self.worker, "heartbeat"),
            Beat,
            body=encode_value(Heartbeat(session=self.session, attempts=named)),
            longest=longest,
        )

    async def report(self, reports: Sequence[Report]) -> list[Answer]:
        """Say what has become of attempts, and hear of each in its order; repeat it at will.

        Those that are Rejected with `stale-token` are of attempts that were lost.
        """
        return await send(self.connection, self.worker, self.session, reports)
