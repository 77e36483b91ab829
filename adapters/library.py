"""The bridge to `eventsourcing`: our events as its domain events, our asyncio under its threads.

    application = Application[str]({
        "PERSISTENCE_MODULE": "adapters.postgres",
        "MAPPER_TOPIC": "adapters.library:RecordMapper",
        "ORIGINATOR_ID_TYPE": "text",
        "DATABASE_URL": "postgresql://…",
    })
    stream: Stream = application.repository.get("ticket/9", version=7)
    stream.state, stream.version

What the repository returns is the `domain.stream.Stream` that an engine would hold in memory, and
what it takes to save are the events that `Stream.record` makes.
"""

import asyncio
import concurrent.futures
import weakref
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from threading import Thread, current_thread
from typing import Any, Generic, TypeVar

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    Cipher,
    Compressor,
    IntegrityError,
    InterfaceError,
    Mapper,
    MapperDeserialisationError,
    OperationalError,
    StoredEvent,
    Transcoder,
)

from adapters import cloudevents
from adapters.codec import Codec, CodecError, FutureEvent
from domain.envelope import Recorded
from domain.kinds import DECIDERS
from domain.stream import Stream

R = TypeVar("R")
T = TypeVar("T")


class Fact(Recorded, frozen=True, gc=False):
    """A recorded event that the library's repository can fold."""

    def mutate(self, stream: Stream | None) -> Stream:
        """The stream with this event, which must be its next one."""
        decider = DECIDERS.of(self.originator_id)
        if decider is None:
            raise FutureEvent(self.event.topic, self.event.class_version)
        if stream is None:
            stream = Stream(self.originator_id, decider.initial())
        stream.fold(decider, self)
        return stream


class RecordMapper(Mapper[str]):
    """Stores an event as the record of `adapters.cloudevents`, under its explicit topic.

    The place in the log (`sequence`, `upto`) is the log's own and left out. Compressor and cipher
    get the event's data, the envelope stays readable. The transcoder is not used.
    """

    def __init__(
        self,
        transcoder: Transcoder,
        compressor: Compressor | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__(transcoder, compressor, cipher)
        self._codec = Codec(DECIDERS, compressor, cipher)

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """The event as it is stored."""
        if not isinstance(domain_event, Recorded):
            raise TypeError(f"{type(domain_event).__name__} is not a Recorded")
        data = self._codec.encode_event(domain_event.event)
        placeless = msgspec.structs.replace(domain_event, sequence=0, upto=0)
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=domain_event.event.topic,
            state=cloudevents.write(placeless, data, plain=self._codec.is_plain),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Fact:
        """The event with exactly the types it had, upcast if its stored form is older.

        Raises MapperDeserialisationError.
        """
        try:
            envelope = cloudevents.parse(stored_event.state)
            place = envelope.subject, envelope.version, envelope.type
            asked = stored_event.originator_id, stored_event.originator_version, stored_event.topic
            if place != asked:
                raise CodecError(f"it is the record of {place}")
            recorded = cloudevents.read(envelope, self._codec)
        except CodecError as error:
            raise MapperDeserialisationError(
                f"{stored_event.originator_id} version {stored_event.originator_version}: {error}"
            ) from error
        return Fact(*msgspec.structs.astuple(recorded))


class VersionTaken(IntegrityError):
    """Somebody else has written this version of the stream: decide again."""


class AlreadyTracked(IntegrityError):
    """This position of the other log is done: skip it."""


class PartitionOwned(OperationalError):
    """A live engine owns the partition and is its only writer: send it commands instead."""


class Bridge(Generic[R]):
    """Lets threads use a *resource* of asyncio, which stays open on a loop in a thread of its own.

    It is closed by `close`, with the last reference to this, or at the end of the process.
    """

    def __init__(self, resource: AbstractAsyncContextManager[R], name: str) -> None:
        opened: concurrent.futures.Future[tuple[R, asyncio.AbstractEventLoop, asyncio.Event]]
        opened = concurrent.futures.Future()
        thread = Thread(
            target=lambda: asyncio.run(_keep_open(resource, opened)), name=name, daemon=True
        )
        thread.start()
        self.resource, self._loop, end = opened.result()
        self.close = weakref.finalize(self, _close, thread, self._loop, end)

    def start(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Begin *work* on the loop. Raises InterfaceError when closed."""
        if not self.close.alive:
            work.close()
            raise InterfaceError("the infrastructure is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work* on the loop. Raises InterfaceError when closed."""
        future = self.start(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise InterfaceError("the infrastructure was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise


async def _keep_open(
    resource: AbstractAsyncContextManager[R],
    opened: "concurrent.futures.Future[tuple[R, asyncio.AbstractEventLoop, asyncio.Event]]",
) -> None:
    try:
        async with resource as it:
            end = asyncio.Event()
            opened.set_result((it, asyncio.get_running_loop(), end))
            await end.wait()
    except BaseException as error:
        if opened.done():
            raise
        opened.set_exception(error)


def _close(thread: Thread, loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    loop.call_soon_threadsafe(end.set)
    if thread is not current_thread():  # where a garbage collection may close it
        thread.join()
