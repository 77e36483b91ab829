"""What the library makes of `PERSISTENCE_MODULE=adapters.postgres`; see `adapters.recorders`.

    DATABASE_URL          the server; TURNSTILE_CONFIG may name it instead
    TURNSTILE_SCHEMA      the schema of the log

An OperationalError leaves the outcome open: if the server went while something was being written,
nobody knows whether it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from eventsourcing.persistence import (
    DatabaseError,
    DataError,
    InfrastructureFactoryError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)

from adapters.config import Config
from adapters.library import VersionTaken
from adapters.log import LogError
from adapters.postgres.connection import Address
from adapters.postgres.log import migrate
from adapters.postgres.stored import open_stored
from adapters.recorders import (
    LogAggregateRecorder,
    LogApplicationRecorder,
    LogFactory,
    LogProcessRecorder,
    LogTrackingRecorder,
    StoreBridge,
)

PostgresAggregateRecorder = LogAggregateRecorder
PostgresApplicationRecorder = LogApplicationRecorder
PostgresProcessRecorder = LogProcessRecorder
PostgresTrackingRecorder = LogTrackingRecorder

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


class Factory(LogFactory):
    """Recorders over the tables that engines write."""

    SETTINGS = ("TURNSTILE_CONFIG", "DATABASE_URL", "TURNSTILE_SCHEMA", "TURNSTILE_PARTITIONS")

    def _open(self, config: Config) -> StoreBridge:
        if config.database_url is None:
            raise InfrastructureFactoryError("DATABASE_URL is not set: there is no server to use")
        self._address = Address(config.database_url, config.schema)
        self._partitions = config.partitions
        return StoreBridge(open_stored(self._address), in_the_words_of_the_library)

    async def _prepare(self, *, create: bool, tracking: bool) -> int:
        return len(await migrate(self._address, self._partitions, create=create))
