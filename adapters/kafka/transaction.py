"""What one transaction of the library's writer writes, and what is known of it afterwards."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import count, islice
from typing import Any, Final
from uuid import uuid4

from aiokafka.errors import KafkaError
from eventsourcing.persistence import PersistenceError, Tracking

from adapters.kafka.connection import meaning
from adapters.kafka.envelopes import Draft, mark
from adapters.kafka.index import REQUEST_ID, Index, Marks, Streams
from adapters.kafka.records import CONTENT_TYPE
from adapters.library import AlreadyTracked, VersionTaken
from adapters.log import LogError

TOGETHER: Final = 2_000
"""Events after which no more requests are put into a transaction."""


class Request:
    """Events and a mark that are written together, or not at all. Raises DataError."""

    def __init__(self, drafts: Sequence[Draft], tracking: Tracking | None) -> None:
        self.id = str(uuid4()).encode()
        self.drafts = drafts
        self.tracking = tracking
        self.mark = None if tracking is None else mark(tracking)
        self.versions = {(draft.stream, draft.version) for draft in drafts}
        self.is_alone = False
        """Whether it gets a transaction of its own, since one that it shared was rejected."""
        self.sequences: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def accept(self, sequences: list[int]) -> None:
        """Tell whoever waits, if anybody does."""
        if not self.sequences.done():
            self.sequences.set_result(sequences)

    def refuse(self, error: Exception) -> None:
        """Tell whoever waits, if anybody does."""
        if not self.sequences.done():
            self.sequences.set_exception(error)


def decide(waiting: deque[Request], streams: Streams, marks: Marks) -> list[Request]:
    """Take the next requests that can be written together; refuse those that cannot be at all.

    One that only what is to be written now stands against is not refused yet: that may fail.
    """
    batch: list[Request] = []
    versions: set[tuple[str, int]] = set()
    names: set[str] = set()
    while waiting:
        request = waiting[0]
        if request.sequences.done():  # whoever asked has gone
            waiting.popleft()
            continue
        if (refusal := _refusal(request, streams, marks)) is not None:
            waiting.popleft().refuse(refusal)
            continue
        name = None if request.tracking is None else request.tracking.application_name
        if batch and (
            request.is_alone
            or batch[0].is_alone
            or len(versions) + len(request.versions) > TOGETHER
            or versions & request.versions
            or name in names
        ):
            break
        batch.append(waiting.popleft())
        versions |= request.versions
        if name is not None:
            names.add(name)
    return batch


def _refusal(request: Request, streams: Streams, marks: Marks) -> PersistenceError | None:
    if (tracking := request.tracking) is not None:
        name, position = tracking.application_name, tracking.notification_id
        if marks.positions.get(name, position - 1) >= position:
            return AlreadyTracked(f"{name!r} was processed up to {position} before, or further")
    for stream, version in request.versions:
        if streams.has(stream, version):
            return VersionTaken(f"{stream} has a version {version}")
    if len(request.versions) < len(request.drafts):
        return VersionTaken("a version is written twice")
    return None


class Transaction:
    """A batch on its way into one partition, behind what the indexes know."""

    def __init__(self, batch: Sequence[Request], streams: Streams, marks: Marks) -> None:
        self.ends: dict[Index, int] = {}
        """The offsets behind it. Empty as long as it cannot have been committed."""
        sequences = count(streams.last + 1)
        self._placed = [(one, list(islice(sequences, len(one.drafts)))) for one in batch]
        self._streams = streams
        self._marks = marks
        self._sending: list[asyncio.Future[Any]] = []

    async def run(self, producer: Any) -> None:
        """Write all of it and commit."""
        await producer.begin_transaction()
        for request, sequences in self._placed:
            header = REQUEST_ID, request.id
            for sequence, draft in zip(sequences, request.drafts, strict=True):
                value, headers = draft.record(sequence), [*CONTENT_TYPE, header]
                await self._send(producer, self._streams, draft.key, value, headers)
        for request, _ in self._placed:
            if request.mark is not None:
                key, value = request.mark
                await self._send(producer, self._marks, key, value, [(REQUEST_ID, request.id)])
        # A transaction is committed although a send in it has failed: so all are awaited first.
        sent = await asyncio.gather(*self._sending)
        ends: dict[Index, int] = {}
        for one in sent:
            if one.offset < 0:
                raise KafkaError(f"{one.topic}: the broker does not say where the record is")
            is_event = one.topic == self._streams.tail.partition.topic
            ends[self._streams if is_event else self._marks] = one.offset + 1
        self.ends = ends
        await producer.commit_transaction()

    async def _send(
        self, producer: Any, index: Index, key: bytes, value: bytes, headers: list[Any]
    ) -> None:
        to = index.tail.partition
        sending = await producer.send(to.topic, value, key, to.partition, headers=headers)
        self._sending.append(sending)

    def meaning(self, error: BaseException) -> LogError:
        """What its failure means; a send that has failed may say it more plainly."""
        failed = [one.exception() for one in self._sending if one.done() and not one.cancelled()]
        return meaning([error, *(one for one in failed if one is not None)])

    def is_settled(self) -> bool:
        """Whether the indexes have passed it, so that they say what became of it."""
        return all(index.position >= end for index, end in self.ends.items())

    def tell(self) -> None:
        """It is committed: the indexes have it, and each request its sequences."""
        offsets = (one.result().offset for one in self._sending)
        for request, sequences in self._placed:
            for sequence, draft in zip(sequences, request.drafts, strict=True):
                self._streams.wrote(sequence, next(offsets), draft.stream, draft.version)
        for request, sequences in self._placed:
            if request.tracking is not None:
                self._marks.wrote(request.tracking)
            request.accept(sequences)
