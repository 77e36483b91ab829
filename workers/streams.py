"""The streams of one partition: those in memory, in quarantine, and those that have left.

An event that makes `evolve` raise puts its one stream in quarantine, loudly. A stream that is
closed may leave memory; whoever needs it brings its events back.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec
import structlog

from adapters.codec import FutureEvent
from domain.decider import Decider, Deciders
from domain.envelope import Recorded, is_stream_id
from domain.errors import Quarantined
from domain.stream import Stream, VersionGap
from workers.closed import Closed

log = structlog.get_logger()
_encode = msgspec.msgpack.Encoder().encode


class Streams:
    """`held` are those in memory; `quarantined` says of each why."""

    def __init__(self, partition: int, deciders: Deciders) -> None:
        self.held: dict[str, Stream] = {}
        self.quarantined: dict[str, str] = {}
        self.closed = Closed()
        self._partition = partition
        self._deciders = deciders
        self._known_until = 0

    def of(self, id_: str, decider: Decider[Any]) -> Stream:
        """The stream, a new one if there is none; whoever changes it has it kept."""
        return self.held.get(id_) or Stream(id_, decider.initial())

    def keep(self, stream: Stream, decider: Decider[Any], sequence: int) -> None:
        """Hold the stream as it is behind its event of this sequence."""
        self.held[stream.id] = stream
        if decider.closed(stream.state):
            self.closed.note(stream, sequence)

    def adopt(self, stream: Stream, until: int) -> None:
        """Hold a stream of which some events behind those folded may be known, up to *until*."""
        self._known_until = until
        self.keep(stream, self._decider(stream.id), until)

    def take_in(self, recorded: Recorded) -> None:
        """Fold an event into its stream. Raises VersionGap, FutureEvent."""
        id_ = recorded.originator_id
        if id_ in self.quarantined:
            return
        decider = self._deciders.of(id_)
        if decider is None:
            raise FutureEvent(recorded.event.topic, recorded.event.class_version)
        stream = self.of(id_, decider)
        if recorded.sequence <= self._known_until and recorded.originator_version <= stream.version:
            return
        try:
            stream.fold(decider, recorded)
        except VersionGap:
            raise
        except Exception as error:
            self.quarantine(recorded, error)
        else:
            self.keep(stream, decider, recorded.sequence)

    def absent(self, ids: Iterable[str]) -> list[str]:
        """Those of them that may have left memory: their events have to be taken in first."""
        if not self.closed.evicted:
            return []
        held = self.held
        return sorted(
            {
                id_
                for id_ in ids
                if id_ not in held
                and id_ not in self.quarantined
                and is_stream_id(id_)
                and self.closed.may_have_left(id_)
            }
        )

    def evict(self, archived: int) -> None:
        """Let closed ones go whose events are all in the archive, which has come so far."""
        self.closed.leave(self.held, archived)

    def digest(self) -> str:
        """What tells two states of the open ones apart; costs as much as serialising them."""
        digest = blake2b(digest_size=16)
        for id_ in sorted(self.held):
            stream = self.held[id_]
            if not self._decider(id_).closed(stream.state):
                digest.update(_encode(stream))
        return digest.hexdigest()

    def quarantine(self, fact: Recorded, error: Exception) -> Quarantined:
        """Have nothing to do with the stream any more, since its event made the fold raise."""
        reason = f"{fact.event.topic} raised {type(error).__name__}: {error}"
        self.quarantined[fact.originator_id] = reason
        self.held.pop(fact.originator_id, None)
        log.critical(
            "quarantined",
            stream=fact.originator_id,
            version=fact.originator_version,
            partition=self._partition,
            sequence=fact.sequence,
            event_id=str(fact.id),
            exc_info=error,
        )
        return Quarantined(stream=fact.originator_id, reason=reason)

    def _decider(self, id_: str) -> Decider[Any]:
        decider = self._deciders.of(id_)
        assert decider is not None, f"{id_} is of no known kind"
        return decider
