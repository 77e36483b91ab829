"""One partition: decides batches, folds events, answers. Knows no log and reads no clock.

One bad message stops nobody else: a command that cannot be understood, or makes `decide` raise,
becomes a dead letter; an event that makes `evolve` raise puts its one stream in quarantine. Both
are loud. Streams may leave memory while they are closed (`streams.py`).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from adapters.codec import Codec
from adapters.log import DeadLetter, Decided, Encoded, Gap, Received, Reply
from domain.decider import Decider, Deciders
from domain.envelope import Answer, Recorded, Refusal, Submitted, check, partition_of
from domain.errors import Invalid, Quarantined, Refused, TooLarge
from workers.streams import Streams

log = structlog.get_logger()

LENGTH = 1_000
"""Characters of a reason, at most."""

EPOCH = datetime.min.replace(tzinfo=UTC)


class _Unfit(Exception):
    """The command is put aside, for this reason."""


class Partition:
    """The state of one partition.

    `streams` are those in `memory`: all that are open, and closed ones; `quarantined` says of those
    that nobody can fold why. `sequence` is that of the last event folded, `event` its id, `upto`
    the highest position that an event says to be decided, `stamp` the last time given.
    """

    def __init__(self, number: int, partitions: int, deciders: Deciders, codec: Codec) -> None:
        self.number = number
        self.memory = Streams(number, deciders)
        self.streams = self.memory.held
        self.quarantined = self.memory.quarantined
        self.sequence = 0
        self.event: UUID | None = None
        self.upto = 0
        self.stamp = EPOCH
        self._partitions = partitions
        self._deciders = deciders
        self._codec = codec

    def fold(self, recorded: Recorded) -> None:
        """Take in an event of the log.

        Raises:
            Gap: it is not the next one of the partition.
            VersionGap: it is not the next one of its stream.
            FutureEvent: nobody here knows its kind of stream.
        """
        if recorded.sequence != self.sequence + 1:
            raise Gap(
                f"partition {self.number} has {recorded.sequence} "
                f"where {self.sequence + 1} should be"
            )
        self.begin_at(recorded)
        self.memory.take_in(recorded)

    def begin_at(self, last: Recorded) -> None:
        """What is folded next is behind the event *last*, and the streams have it already."""
        self.sequence, self.event = last.sequence, last.id
        self.upto = max(self.upto, last.upto)
        self.stamp = max(self.stamp, last.time)

    def missing(self, batch: Iterable[Received]) -> list[str]:
        """The streams that are to be brought back to memory before the batch is decided."""
        return self.memory.absent([r.submitted.stream for r in batch if r.submitted is not None])

    def lacking(self, events: Iterable[Recorded]) -> list[str]:
        """The streams that are to be brought back to memory before these events are folded."""
        return self.memory.absent([r.originator_id for r in events if r.originator_version > 1])

    def restore(self, events: Iterable[Recorded]) -> None:
        """Bring streams back to memory by their own events, each's from the first one on."""
        for recorded in events:
            self.memory.take_in(recorded)

    def digest(self) -> str:
        """What tells two states of the partition's open streams apart."""
        return self.memory.digest()

    def decide(self, batch: Sequence[Received], clock: datetime) -> Decided:
        """Decide and fold a batch at the time that *clock* shows, or the last stamp if later.

        If what it returns cannot be committed, this partition is worth nothing any more.
        """
        now = self.stamp = max(self.stamp, clock)
        upto = batch[-1].position
        events: list[Encoded] = []
        dead: list[DeadLetter] = []
        replies: list[Reply] = []
        for received in batch:
            submitted = received.submitted
            refused: Refused | None = None
            try:
                if submitted is None:
                    raise _Unfit(received.problem)
                refused = self._decide(submitted, received.at, now, upto, events)
            except _Unfit as unfit:
                reason = _printable(str(unfit))
                dead.append(DeadLetter(received, reason))
                log.error(
                    "dead_letter", partition=self.number, position=received.position, reason=reason
                )
                refused = Unfit(reason=reason)
            except Quarantined as quarantined:
                dead.append(DeadLetter(received, str(quarantined)))
                refused = quarantined
            asker = submitted or received
            if asker.reply_to is not None and asker.id is not None:
                replies.append(Reply(asker.reply_to, self._answer(asker.id, submitted, refused)))
        self.upto = upto
        return Decided(upto=upto, events=events, dead=dead, replies=replies)

    def _decide(
        self,
        submitted: Submitted,
        arrived: datetime,
        now: datetime,
        upto: int,
        events: list[Encoded],
    ) -> Refused | None:
        """Decide one command and add what it causes to *events*; return how it was refused."""
        decider = self._fit(submitted)
        stream = self.memory.of(submitted.stream, decider)
        refused: Refused | None = None
        try:
            decided = stream.decide(decider, submitted, now, arrived)
        except Refused as refusal:
            refused = refusal
            decided = refusal.leaves
        except Exception as error:
            log.exception("decision_raised", stream=stream.id, command=str(submitted.id))
            raise _Unfit(f"the decision raised {type(error).__name__}: {error}") from error
        if not decided:
            return refused
        facts = stream.record(decided, submitted, now, sequence=self.sequence, upto=upto)
        try:
            encoded = [Encoded(fact, self._encode(fact)) for fact in facts]
        except TooLarge as too_large:
            return too_large
        except Exception as error:
            raise _Unfit(f"its event cannot be stored: {error}") from error
        for fact in facts:
            try:
                stream.fold(decider, fact)
            except Exception as error:
                raise self.memory.quarantine(fact, error) from error
        self.sequence, self.event = facts[-1].sequence, facts[-1].id
        self.memory.keep(stream, decider, self.sequence)
        events += encoded
        return refused

    def _fit(self, submitted: Submitted) -> Decider[Any]:
        if submitted.stream in self.quarantined:
            raise Quarantined(stream=submitted.stream, reason=self.quarantined[submitted.stream])
        try:
            check(submitted)
        except Invalid as invalid:
            raise _Unfit(str(invalid)) from None
        number = partition_of(submitted.stream, self._partitions)
        if number != self.number:
            raise _Unfit(f"{submitted.stream} lives in partition {number}, not in {self.number}")
        decider = self._deciders.of(submitted.stream)
        if decider is None or type(submitted.command) not in decider.commands:
            raise _Unfit(f"{submitted.stream} knows no {submitted.command.topic}")
        return decider

    def _encode(self, fact: Recorded) -> bytes:
        data = self._codec.encode_event(fact.event)
        if len(data) > self._codec.limit:
            raise TooLarge(field=fact.event.topic, size=len(data), limit=self._codec.limit)
        return data

    def _answer(self, id_: UUID, submitted: Submitted | None, refused: Refused | None) -> Answer:
        if refused is not None:
            detail = _printable(str(refused))
            refusal = Refusal(type=refused.type, detail=detail, field=refused.field)
            return Answer(command_id=id_, partition=self.number, refusal=refusal)
        assert submitted is not None
        version = self.streams[submitted.stream].accepted[id_.bytes]
        return Answer(
            command_id=id_, partition=self.number, version=version, sequence=self.sequence
        )


def _printable(text: str) -> str:
    """What any log can store and any reply can carry."""
    text = text if len(text) <= LENGTH else f"{text[:LENGTH]}…"
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


class Unfit(Refused):
    """The command was put aside as a dead letter: {reason}"""
