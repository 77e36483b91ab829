"""What the library makes of `PERSISTENCE_MODULE=adapters.kafka`; see `adapters.recorders`.

    TURNSTILE_KAFKA              the cluster, `host:port,…`; TURNSTILE_CONFIG may name it instead
    TURNSTILE_KAFKA_TOPICS       what the names of the log's topics begin with
    TURNSTILE_KAFKA_REPLICATION  of topics that are to be made
    TURNSTILE_KAFKA_SECURITY, …  as in `adapters.config`

An OperationalError says that nothing was written: as long as nobody knows, the writer waits.
Events whose streams live in several partitions cannot be written at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    InternalError,
    OperationalError,
    PersistenceError,
)

from adapters.codec import CodecError
from adapters.config import Config
from adapters.kafka.connection import Address
from adapters.kafka.stored import TRACKED, open_stored
from adapters.kafka.topics import TOPICS, prepare
from adapters.log import Gap, LogError, Rejected
from adapters.recorders import LogFactory, StoreBridge

_WORDS: Final[tuple[tuple[type[Exception], type[PersistenceError]], ...]] = (
    (Rejected, DataError),
    (Gap, InternalError),
    (CodecError, InternalError),
    (LogError, OperationalError),
)


@contextmanager
def in_the_words_of_the_library() -> Iterator[None]:
    """What the log raises becomes what the library expects."""
    try:
        yield
    except (LogError, CodecError) as error:
        word = next(word for kind, word in _WORDS if isinstance(error, kind))
        raise word(str(error)) from error


class Factory(LogFactory):
    """Recorders over the topics that engines write."""

    SETTINGS = (
        "TURNSTILE_CONFIG",
        "TURNSTILE_KAFKA",
        "TURNSTILE_KAFKA_TOPICS",
        "TURNSTILE_KAFKA_REPLICATION",
        "TURNSTILE_KAFKA_SECURITY",
        "TURNSTILE_KAFKA_CA",
        "TURNSTILE_KAFKA_CERTIFICATE",
        "TURNSTILE_KAFKA_KEY",
        "TURNSTILE_KAFKA_MECHANISM",
        "TURNSTILE_KAFKA_USERNAME",
        "TURNSTILE_KAFKA_PASSWORD",
        "TURNSTILE_PARTITIONS",
    )

    def _open(self, config: Config) -> StoreBridge:
        if config.kafka is None:
            raise InfrastructureFactoryError(
                "TURNSTILE_KAFKA is not set: there is no cluster to use"
            )
        self._config = config
        self._address = Address.of(config)
        return StoreBridge(open_stored(self._address), in_the_words_of_the_library)

    async def _prepare(self, *, create: bool, tracking: bool) -> int:
        partitions, replication = self._config.partitions, self._config.kafka_replication
        wanted = TRACKED if tracking else TOPICS
        return len(
            await prepare(self._address, partitions, replication, create=create, wanted=wanted)
        )
