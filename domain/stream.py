"""One stream: its state, its version, and the commands that it has accepted.

What is promised about repetition is kept here, for every kind of stream alike: the same command
again, however late, changes nothing and gets the first answer.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from domain.decider import Decider
from domain.envelope import Recorded, Submitted, event_id
from domain.errors import TooLate
from domain.event import CommandNoted, Event


class Stream(Struct, gc=False):
    """`accepted` maps the ids of accepted commands to the version of the first event of each."""

    id: str
    state: Any
    version: int = 0
    accepted: dict[bytes, int] = {}

    def decide(
        self, decider: Decider[Any], submitted: Submitted, now: datetime, arrived: datetime
    ) -> tuple[Event, ...]:
        """The events that *submitted*, which came in at *arrived*, causes at *now*.

        Empty if the command was accepted before. Raises `Refused`.
        """
        if submitted.id.bytes in self.accepted:
            return ()
        if submitted.patience is not None:
            age = (now - arrived).total_seconds()
            if age > submitted.patience:
                raise TooLate(patience=submitted.patience, age=age)
        name = self.id.partition("/")[2]
        return decider.decide(self.state, name, submitted.command, now) or (CommandNoted(),)

    def record(
        self,
        events: tuple[Event, ...],
        submitted: Submitted,
        now: datetime,
        *,
        sequence: int = 0,
        upto: int = 0,
    ) -> list[Recorded]:
        """Make facts of *events*, not folded yet: the next versions, behind *sequence*.

        What a refused command leaves is numbered by its version instead: the command's id is not
        remembered, so it may cause events again.
        """
        return [
            Recorded(
                id=event_id(self.id, submitted.id, n if event.accepts else -self.version - n),
                originator_id=self.id,
                originator_version=self.version + n,
                event=event,
                time=now,
                actor=submitted.actor,
                causationid=submitted.id,
                sequence=sequence + n,
                upto=upto,
                traceparent=submitted.traceparent,
            )
            for n, event in enumerate(events, start=1)
        ]

    def fold(self, decider: Decider[Any], recorded: Recorded) -> None:
        """Change by one event, which must be the next one."""
        if recorded.originator_version != self.version + 1:
            raise VersionGap(self.id, self.version, recorded.originator_version)
        event = recorded.event
        version = recorded.originator_version
        if isinstance(event, CommandNoted):
            self.accepted[recorded.causationid.bytes] = event.version or version
        else:
            decider.evolve(self.state, recorded)
            if event.accepts:
                self.accepted.setdefault(recorded.causationid.bytes, version)
        self.version = version


class VersionGap(Exception):
    """The events of a stream do not follow one another: the log or its reading is at fault."""

    def __init__(self, stream: str, version: int, found: int) -> None:
        super().__init__(f"{stream} is at version {version}, and its next event has {found}")
