"""The recorders of `eventsourcing`, over the events that the engines write, whatever keeps them.

An application of the library may read always, and write where no live engine owns the partition:
elsewhere it is refused (`PartitionOwned`), and where the lease of an engine has lapsed, that
engine is fenced. What it writes are the same facts in the same order: sequences are notification
ids, gapless and counted for each partition, so a log of several has as many application sequences.

`Store` is what an adapter brings; `adapters.postgres` and `adapters.kafka` each have one, and the
factory that the library finds there.

    TURNSTILE_PARTITIONS  of a log that is to be made; another number than the log has is refused
    TURNSTILE_PARTITION   whose notifications are read, where there are several partitions
    CREATE_TABLE=f        the log is there

Each setting may carry the application's name in front, as every setting of the library.
"""

import concurrent.futures
import threading
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InfrastructureFactoryError,
    ListenNotifySubscription,
    Notification,
    NotSupportedError,
    ProcessRecorder,
    ProgrammingError,
    Recorder,
    StoredEvent,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from adapters.config import Config, ConfigError, read
from adapters.library import Bridge

R = TypeVar("R")
T = TypeVar("T", bound="LogRecorder")

PARTITION = "TURNSTILE_PARTITION"


class Store(Protocol):
    """A log's events as the library sees them: stored events, notifications, tracking."""

    partitions: int
    """Of the log, once it is known."""
    home: int | None
    """The partition that was said to be the application's own; the only one if there is one."""

    async def insert(
        self, events: Sequence[StoredEvent], tracking: Tracking | None = None
    ) -> Sequence[int]:
        """Append all of *events* and *tracking*, or nothing; return the events' sequences."""
        ...

    async def select(
        self, stream: str, gt: int | None, lte: int | None, limit: int | None, *, desc: bool
    ) -> Sequence[StoredEvent]:
        """The stream's events with versions behind *gt* and up to *lte*."""
        ...

    async def notifications(
        self, partition: int, start: int, stop: int | None, topics: Sequence[str], limit: int
    ) -> Sequence[Notification]:
        """The partition's events from sequence *start* up to *stop*, of these topics if any."""
        ...

    async def end(self, partition: int) -> int:
        """The sequence of the partition's last event, 0 if there is none."""
        ...

    async def track(self, tracking: Tracking) -> None:
        """Move the mark of how far another log was processed. Raises AlreadyTracked."""
        ...

    async def tracked(self, application_name: str) -> int | None:
        """How far the log of that name was processed."""
        ...

    async def wake(self, partition: int, sleeper: threading.Event) -> None:
        """Set *sleeper* whenever the partition may have grown, and when this is ended."""
        ...


class StoreBridge(Bridge[Store]):
    """A bridge to a store. *words* makes what the store raises what the library expects."""

    def __init__(
        self,
        store: AbstractAsyncContextManager[Store],
        words: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._words = words
        super().__init__(store, "recorder")

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of *work* on the loop. Raises errors of the library only."""
        with self._words():
            return super().run(work)


class LogRecorder(Recorder):
    """Works on a log's events through a bridge to them."""

    def __init__(self, bridge: StoreBridge) -> None:
        self.bridge = bridge
        self.store = bridge.resource

    @property
    def partition(self) -> int:
        """Whose notifications are read. Raises ProgrammingError if it was not said."""
        if self.store.home is None:
            raise ProgrammingError(
                f"the log has {self.store.partitions} partitions, each with notifications of its "
                f"own: say which by {PARTITION}"
            )
        return self.store.home


class LogAggregateRecorder(LogRecorder, AggregateRecorder):
    """Streams."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append all of them or nothing.

        Raises:
            VersionTaken: an IntegrityError; somebody else has written that version.
            AlreadyTracked: an IntegrityError; the `tracking` of a process recorder is done.
            PartitionOwned: an OperationalError; a live engine is the partition's only writer.
            OperationalError: the server is away. The adapter says what is known of the outcome.
            DataError: an event is too large or not storable.
        """
        self._insert(stored_events, None)
        return None

    def _insert(self, events: Sequence[StoredEvent], tracking: Tracking | None) -> Sequence[int]:
        return self.bridge.run(self.store.insert(events, tracking))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of a stream, from the partition where it lives."""
        if not isinstance(originator_id, str):
            raise ProgrammingError(f"the ids of streams are text, {originator_id!r} is none")
        return self.bridge.run(self.store.select(originator_id, gt, lte, limit, desc=desc))


class LogApplicationRecorder(LogAggregateRecorder, ApplicationRecorder):
    """Streams, and the partition's sequence of notifications."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """As the aggregate recorder does; return each event's sequence in its own partition."""
        return self._insert(stored_events, None)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Committed events of the partition in order; none before these will ever be added."""
        first = 0 if start is None else start if inclusive_of_start else start + 1
        return self.bridge.run(self.store.notifications(self.partition, first, stop, topics, limit))

    def max_notification_id(self) -> int | None:
        """The last sequence of the partition, None if there is none."""
        return self.bridge.run(self.store.end(self.partition)) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "LogSubscription":
        """The partition's events behind *gt*, and those to come as they come."""
        return LogSubscription(self, gt, topics)


class LogSubscription(ListenNotifySubscription[LogApplicationRecorder]):
    """Woken when the partition grows, and correct without it."""

    def __init__(
        self, recorder: LogApplicationRecorder, gt: int | None, topics: Sequence[str]
    ) -> None:
        self._waking: concurrent.futures.Future[None] | None = None
        partition = recorder.partition
        super().__init__(recorder, gt, topics)
        self._waking = recorder.bridge.start(
            recorder.store.wake(partition, self._has_been_notified)
        )
        if self._has_been_stopped:  # by what its thread met
            self.stop()

    def stop(self) -> None:
        """End the iteration."""
        super().stop()
        if self._waking is not None:
            self._waking.cancel()


class LogTrackingRecorder(LogRecorder, TrackingRecorder):
    """How far the logs of others were processed.

    A high-water mark: what processes a log of several partitions has a name for each.
    """

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move the mark. Raises AlreadyTracked, an IntegrityError, if it is there or further."""
        self.bridge.run(self.store.track(tracking))

    def max_tracking_id(self, application_name: str) -> int | None:
        """The mark."""
        return self.bridge.run(self.store.tracked(application_name))


class LogProcessRecorder(LogTrackingRecorder, LogApplicationRecorder, ProcessRecorder):
    """Events and the mark, in one transaction."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """As the application recorder does, together with `tracking` if it is given."""
        return self._insert(stored_events, kwargs.get("tracking"))


class LogFactory(InfrastructureFactory[LogTrackingRecorder]):
    """Makes recorders that share one store.

    Raises InfrastructureFactoryError for settings that cannot be.
    """

    SETTINGS: ClassVar[tuple[str, ...]]
    """The settings of `adapters.config` that the adapter reads."""
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        try:
            config = read({name: value for name in self.SETTINGS if (value := self.env.get(name))})
        except ConfigError as error:
            raise InfrastructureFactoryError(str(error)) from error
        if self.env.get(self.ORIGINATOR_ID_TYPE, "text") != "text":
            raise InfrastructureFactoryError(f"{self.ORIGINATOR_ID_TYPE} can only be 'text'")
        self._bridge = self._open(config)

    @abstractmethod
    def _open(self, config: Config) -> StoreBridge:
        """The store that is configured. Raises InfrastructureFactoryError if none is."""

    @abstractmethod
    async def _prepare(self, *, create: bool, tracking: bool) -> int:
        """Have the log there, with a place for tracking if there is to be any; its partitions."""

    def aggregate_recorder(self, purpose: str = "events") -> LogAggregateRecorder:
        """Streams; snapshots of them are not kept."""
        if purpose != "events":
            raise NotSupportedError(
                f"there is no place for {purpose}: a stream is folded from its events"
            )
        return self._make(LogAggregateRecorder)

    def application_recorder(self) -> LogApplicationRecorder:
        """Streams and notifications."""
        return self._make(self._named(self.APPLICATION_RECORDER_TOPIC, LogApplicationRecorder))

    def tracking_recorder(
        self, tracking_recorder_class: type[LogTrackingRecorder] | None = None
    ) -> LogTrackingRecorder:
        """How far the logs of others were processed."""
        return self._make(
            tracking_recorder_class
            or self._named(self.TRACKING_RECORDER_TOPIC, LogTrackingRecorder)
        )

    def process_recorder(self) -> LogProcessRecorder:
        """Streams, notifications and tracking."""
        return self._make(self._named(self.PROCESS_RECORDER_TOPIC, LogProcessRecorder))

    def close(self) -> None:
        """End the connections and the thread that serves them."""
        self._bridge.close()

    def _named(self, setting: str, default: type[T]) -> type[T]:
        """The class that a setting of the library names."""
        topic = self.env.get(setting)
        if not topic:
            return default
        named = resolve_topic(topic)
        if not (isinstance(named, type) and issubclass(named, default)):
            raise InfrastructureFactoryError(f"{setting}: {topic!r} is no {default.__name__}")
        return named

    def _make(self, kind: type[T]) -> T:
        create = strtobool(self.env.get(self.CREATE_TABLE) or "yes")
        tracking = issubclass(kind, LogTrackingRecorder)
        store = self._bridge.resource
        store.partitions = self._bridge.run(self._prepare(create=create, tracking=tracking))
        store.home = self._home(store.partitions)
        return kind(self._bridge)

    def _home(self, partitions: int) -> int | None:
        setting = self.env.get(PARTITION)
        if not setting:
            return 0 if partitions == 1 else None
        if setting not in map(str, range(partitions)):
            raise InfrastructureFactoryError(
                f"{PARTITION}={setting}: the log has partitions 0 to {partitions - 1}"
            )
        return int(setting)
