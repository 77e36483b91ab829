"""The recorders of `eventsourcing`, over the tables that the engines write.

An application of the library may read always, and write where no live engine owns the partition:
elsewhere it is refused (`PartitionOwned`), and where the lease of an engine has lapsed, that
engine is fenced. What it writes are the same facts in the same order: sequences are notification
ids, gapless and counted for each partition, so a log of several has as many application sequences.

    DATABASE_URL          the server; TURNSTILE_CONFIG may name it instead
    TURNSTILE_SCHEMA      the schema of the log
    TURNSTILE_PARTITIONS  of a log that is to be made; another number than the log has is refused
    TURNSTILE_PARTITION   whose notifications are read, where there are several partitions
    CREATE_TABLE=f        the tables are there

Each may carry the application's name in front, as every setting of the library.
"""

import concurrent.futures
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DatabaseError,
    DataError,
    InfrastructureFactory,
    InfrastructureFactoryError,
    IntegrityError,
    InternalError,
    ListenNotifySubscription,
    Notification,
    NotSupportedError,
    OperationalError,
    PersistenceError,
    ProcessRecorder,
    ProgrammingError,
    Recorder,
    StoredEvent,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from adapters.config import ConfigError, read
from adapters.library import Bridge, VersionTaken
from adapters.log import LogError
from adapters.postgres.connection import Address
from adapters.postgres.log import migrate
from adapters.postgres.stored import StoredEvents, open_stored

T = TypeVar("T", bound="PostgresRecorder")

_WORDS: Final[tuple[tuple[type[Exception], type[PersistenceError]], ...]] = (
    (asyncpg.IntegrityConstraintViolationError, IntegrityError),
    (asyncpg.DataError, DataError),
    (asyncpg.SyntaxOrAccessError, ProgrammingError),
    (asyncpg.InvalidCatalogNameError, ProgrammingError),
    (asyncpg.FeatureNotSupportedError, NotSupportedError),
    (asyncpg.InternalServerError, InternalError),
    (asyncpg.TransactionRollbackError, OperationalError),
    (asyncpg.InvalidTransactionStateError, OperationalError),
    (asyncpg.InvalidAuthorizationSpecificationError, OperationalError),
    (asyncpg.PostgresError, DatabaseError),
    (LogError, OperationalError),
)


@contextmanager
def in_the_words_of_the_library() -> Iterator[None]:
    """What PostgreSQL and the log raise becomes what the library expects."""
    try:
        yield
    except (asyncpg.PostgresError, LogError) as error:
        if getattr(error, "constraint_name", None) == "events_version_taken":
            raise VersionTaken(f"{error}: {getattr(error, 'detail', '')}") from error
        word = next(word for kind, word in _WORDS if isinstance(error, kind))
        raise word(str(error)) from error


class PostgresRecorder(Recorder):
    """Works on the tables through a bridge to them."""

    def __init__(self, bridge: Bridge[StoredEvents], partition: int | None = None) -> None:
        self.bridge = bridge
        self.stored = bridge.resource
        self._partition = partition

    @property
    def partition(self) -> int:
        """Whose notifications are read. Raises ProgrammingError if it was not said."""
        if self._partition is None:
            raise ProgrammingError(
                f"the log has {self.stored.partitions} partitions, each with notifications of its "
                f"own: say which by {Factory.PARTITION}"
            )
        return self._partition


class PostgresAggregateRecorder(PostgresRecorder, AggregateRecorder):
    """Streams."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append all of them or nothing.

        Raises:
            VersionTaken: an IntegrityError; somebody else has written that version.
            AlreadyTracked: an IntegrityError; the `tracking` of a process recorder is done.
            PartitionOwned: an OperationalError; a live engine is the partition's only writer.
            OperationalError: the server is away. If it went while this was under way, nobody
                knows what was written.
            DataError: an event is too large or not storable.
        """
        self._insert(stored_events, None)
        return None

    def _insert(self, events: Sequence[StoredEvent], tracking: Tracking | None) -> Sequence[int]:
        with in_the_words_of_the_library():
            return self.bridge.run(self.stored.insert(events, tracking))

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
        with in_the_words_of_the_library():
            return self.bridge.run(self.stored.select(originator_id, gt, lte, limit, desc=desc))


class PostgresApplicationRecorder(PostgresAggregateRecorder, ApplicationRecorder):
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
        with in_the_words_of_the_library():
            return self.bridge.run(
                self.stored.notifications(self.partition, first, stop, topics, limit)
            )

    def max_notification_id(self) -> int | None:
        """The last sequence of the partition, None if there is none."""
        with in_the_words_of_the_library():
            return self.bridge.run(self.stored.end(self.partition)) or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> "PostgresSubscription":
        """The partition's events behind *gt*, and those to come as they come."""
        return PostgresSubscription(self, gt, topics)


class PostgresSubscription(ListenNotifySubscription[PostgresApplicationRecorder]):
    """Woken by NOTIFY, and correct without it."""

    def __init__(
        self, recorder: PostgresApplicationRecorder, gt: int | None, topics: Sequence[str]
    ) -> None:
        self._waking: concurrent.futures.Future[None] | None = None
        partition = recorder.partition
        super().__init__(recorder, gt, topics)
        self._waking = recorder.bridge.start(
            recorder.stored.wake(partition, self._has_been_notified)
        )
        if self._has_been_stopped:  # by what its thread met
            self.stop()

    def stop(self) -> None:
        """End the iteration."""
        super().stop()
        if self._waking is not None:
            self._waking.cancel()


class PostgresTrackingRecorder(PostgresRecorder, TrackingRecorder):
    """How far the logs of others were processed.

    A high-water mark: what processes a log of several partitions has a name for each.
    """

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move the mark. Raises AlreadyTracked, an IntegrityError, if it is there or further."""
        with in_the_words_of_the_library():
            self.bridge.run(self.stored.track(tracking))

    def max_tracking_id(self, application_name: str) -> int | None:
        """The mark."""
        with in_the_words_of_the_library():
            return self.bridge.run(self.stored.tracked(application_name))


class PostgresProcessRecorder(
    PostgresTrackingRecorder, PostgresApplicationRecorder, ProcessRecorder
):
    """Events and the mark, in one transaction."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """As the application recorder does, together with `tracking` if it is given."""
        return self._insert(stored_events, kwargs.get("tracking"))


class Factory(InfrastructureFactory[PostgresTrackingRecorder]):
    """What the library makes of `PERSISTENCE_MODULE=adapters.postgres`.

    Raises InfrastructureFactoryError for settings that cannot be.
    """

    SETTINGS = ("TURNSTILE_CONFIG", "DATABASE_URL", "TURNSTILE_SCHEMA", "TURNSTILE_PARTITIONS")
    PARTITION = "TURNSTILE_PARTITION"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        try:
            config = read({name: value for name in self.SETTINGS if (value := self.env.get(name))})
        except ConfigError as error:
            raise InfrastructureFactoryError(str(error)) from error
        if config.database_url is None:
            raise InfrastructureFactoryError("DATABASE_URL is not set: there is no server to use")
        if self.env.get(self.ORIGINATOR_ID_TYPE, "text") != "text":
            raise InfrastructureFactoryError(f"{self.ORIGINATOR_ID_TYPE} can only be 'text'")
        self._partitions = config.partitions
        self._address = Address(config.database_url, config.schema)
        self._bridge = Bridge(open_stored(self._address), "recorder")

    def aggregate_recorder(self, purpose: str = "events") -> PostgresAggregateRecorder:
        """Streams; snapshots of them are not kept."""
        if purpose != "events":
            raise NotSupportedError(
                f"there is no place for {purpose}: a stream is folded from its events"
            )
        return self._make(PostgresAggregateRecorder)

    def application_recorder(self) -> PostgresApplicationRecorder:
        """Streams and notifications."""
        return self._make(self._named(self.APPLICATION_RECORDER_TOPIC, PostgresApplicationRecorder))

    def tracking_recorder(
        self, tracking_recorder_class: type[PostgresTrackingRecorder] | None = None
    ) -> PostgresTrackingRecorder:
        """How far the logs of others were processed."""
        return self._make(
            tracking_recorder_class
            or self._named(self.TRACKING_RECORDER_TOPIC, PostgresTrackingRecorder)
        )

    def process_recorder(self) -> PostgresProcessRecorder:
        """Streams, notifications and tracking."""
        return self._make(self._named(self.PROCESS_RECORDER_TOPIC, PostgresProcessRecorder))

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
        with in_the_words_of_the_library():
            genesis = self._bridge.run(migrate(self._address, self._partitions, create=create))
        self._bridge.resource.partitions = len(genesis)
        return kind(self._bridge, self._partition(len(genesis)))

    def _partition(self, partitions: int) -> int | None:
        setting = self.env.get(self.PARTITION)
        if not setting:
            return 0 if partitions == 1 else None
        if setting not in map(str, range(partitions)):
            raise InfrastructureFactoryError(
                f"{self.PARTITION}={setting}: the log has partitions 0 to {partitions - 1}"
            )
        return int(setting)
