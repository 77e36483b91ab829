"""Where the cluster is, how clients of it are made and ended, and what their errors mean."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from ssl import SSLContext, SSLError
from typing import Any, Final

import aiokafka
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.helpers import create_ssl_context
from msgspec import Struct

from adapters.config import Config
from adapters.kafka.refusals import heard
from adapters.log import Fenced, LogError, Rejected, Unavailable

REQUEST: Final = 10.0
"""Seconds after which a request to a broker is given up."""

ENDING: Final = 3.0
"""Seconds that a client may take to end in order."""

RETRY: Final = 5
"""Milliseconds between the tries of a transaction's requests. With aiokafka's 100 the slowest
hundredth takes four times as long, since two requests often collide in the broker."""

FENCED: Final = (errors.ProducerFenced, errors.InvalidProducerEpoch)
REJECTED: Final = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.RecordTooLargeError,
    errors.CorruptRecordException,
    errors.InvalidTimestampError,
)
FAILURES: Final = (
    errors.KafkaError,
    errors.IllegalOperation,  # of a producer that is over
    errors.ConsumerStoppedError,
    AssertionError,  # aiokafka's way to say that a producer is in no state for that
    OSError,
    TimeoutError,
)
"""What aiokafka raises where the cluster is at fault, or a client that it has given up."""


class Security(Struct, frozen=True):
    """TLS and SASL, in Kafka's own words; files are PEM."""

    protocol: str = "PLAINTEXT"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = None

    def options(self) -> dict[str, Any]:
        """What aiokafka's clients are told. Raises Unavailable for files that are not there."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._context()
        return options

    def _context(self) -> SSLContext:
        files = [file for file in (self.ca, self.certificate, self.key) if file]
        try:
            for file in files:
                Path(file).open("rb").close()  # this error names the file, and OpenSSL's does not
            context: SSLContext = create_ssl_context(
                cafile=self.ca, certfile=self.certificate, keyfile=self.key
            )
        except (OSError, SSLError) as error:
            raise Unavailable(f"Kafka: the TLS files {', '.join(files)}: {error}") from error
        return context


class Address(Struct, frozen=True):
    """Where the topics are. Their names' first part keeps several logs in one cluster apart."""

    servers: str
    topics: str = "ticket"
    security: Security = Security()

    @classmethod
    def of(cls, config: Config) -> "Address":
        """The one that the configuration names."""
        assert config.kafka is not None
        security = Security(
            protocol=config.kafka_security,
            ca=config.kafka_ca,
            certificate=config.kafka_certificate,
            key=config.kafka_key,
            mechanism=config.kafka_mechanism,
            username=config.kafka_username,
            password=config.kafka_password,
        )
        return cls(config.kafka, config.kafka_topics, security)

    @property
    def group(self) -> str:
        """The consumer group of the engines."""
        return f"{self.topics}.engines"

    def topic(self, name: str) -> str:
        """The name of one of the log's topics."""
        return f"{self.topics}.{name}"

    def transactional_id(self, partition: int) -> str:
        """One a partition, never one a process: a successor of any name must fence."""
        return f"{self.topics}-{partition}"

    def options(self) -> dict[str, Any]:
        """What every client is told."""
        return {
            "bootstrap_servers": self.servers.split(","),
            "client_id": "turnstile",
            "request_timeout_ms": int(REQUEST * 1e3),
            **self.security.options(),
        }

    def consumer(self, **options: Any) -> Any:
        """A consumer that commits nothing and sees nothing uncommitted."""
        return aiokafka.AIOKafkaConsumer(
            **{
                **self.options(),
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "isolation_level": "read_committed",
                "max_partition_fetch_bytes": 4 * 1024 * 1024,
                "retry_backoff_ms": 50,
                **options,
            }
        )

    def glance(self) -> Any:
        """A consumer for a look here and there.

        Others have a request out that the broker answers when there is something new, and cannot
        ask for anything else until then.
        """
        return self.consumer(fetch_max_wait_ms=10)

    def producer(self, **options: Any) -> Any:
        """A producer whose acknowledgement says that every replica in sync has it."""
        return aiokafka.AIOKafkaProducer(
            **{
                **self.options(),
                "acks": "all",
                "enable_idempotence": False,
                "max_batch_size": BATCH,
                "max_request_size": 4 * 1024 * 1024,
                "retry_backoff_ms": 50,
                **options,
            }
        )

    def admin(self) -> Any:
        """A client for topics and groups."""
        return AIOKafkaAdminClient(**self.options())


BATCH: Final = 1_000_000
"""Bytes of records that are sent together, below what a topic takes unless configured (1 MiB)."""


@asynccontextmanager
async def running(client: Any) -> AsyncIterator[Any]:
    """The client, started and in the end stopped, whatever becomes of the cluster."""
    await started(client)
    try:
        yield client
    finally:
        await ended(client)


async def started(client: Any) -> Any:
    """The client when it works. Raises Unavailable, and then it is ended."""
    with heard() as refusals:
        starting = asyncio.ensure_future(client.start())
        try:
            with translated(refusals):
                async with asyncio.timeout(REQUEST):
                    await asyncio.shield(starting)
                    await asyncio.sleep(0)  # a consumer that is stopped at once would be cancelled
        except BaseException:
            # A client of aiokafka that is cut off while it starts leaves connections open; so it is
            # ended also for who is told a second time to wait no more.
            try:
                await _over(starting)
            finally:
                await ended(client)
            raise
    return client


async def ended(client: Any) -> None:
    """End a client in order; cut its connections if that takes too long, or fails."""
    ending = asyncio.ensure_future(client.close() if hasattr(client, "close") else client.stop())
    try:
        await asyncio.wait({ending}, timeout=ENDING)
    finally:
        if not await _over(ending, 0):
            cluster = getattr(client, "client", None) or client._client
            for connection in cluster._conns.values():
                _cut(connection)
            await _over(asyncio.ensure_future(cluster.close()))
        _hear_out(client)


def _cut(connection: Any) -> None:
    """Wait for no last word: the end of TLS is one, and who is cut off cannot say it."""
    transport = connection._protocol and connection._protocol._transport
    if transport is not None:
        transport.abort()


async def _over(work: "asyncio.Future[None]", patience: float = ENDING) -> bool:
    """Whether the work was done, at most so many seconds from now; it is over in any case."""
    try:
        if not work.done() and patience:
            await asyncio.wait({work}, timeout=patience)
    finally:
        while not work.done():
            work.cancel()  # more than once: each time, aiokafka ends one of its tasks and waits on
            await asyncio.wait({work}, timeout=0.1)
    return not work.cancelled() and work.exception() is None


def _hear_out(client: Any) -> None:
    """Look at what became of a producer's last transaction, or asyncio complains that nobody did.

    These futures are aiokafka's own affair, and it forgets them where a producer is fenced.
    """
    transactions = getattr(client, "_txn_manager", None)
    if transactions is None:
        return
    waiting = [transactions._transaction_waiter]
    for batches in client._message_accumulator._batches.values():
        waiting += [batch._drain_waiter for batch in batches]
    for future in waiting:
        if future is not None and future.done() and not future.cancelled():
            future.exception()


@contextmanager
def translated(refusals: Sequence[str] = ()) -> Iterator[None]:
    """What aiokafka raises becomes the port's; *refusals*, if there are, say why."""
    try:
        yield
    except LogError:
        raise
    except asyncio.CancelledError as cancelled:  # aiokafka does so to its own at times
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("Kafka: aiokafka has cancelled its own request") from cancelled
    except FAILURES as error:
        raise meaning([error], refusals) from error


def meaning(failures: Iterable[BaseException], refusals: Sequence[str] = ()) -> LogError:
    """What some errors of one piece of work mean together: the plainest of them says it."""
    found = list(failures)
    for kinds, word in ((FENCED, Fenced), (REJECTED, Rejected)):
        for failure in found:
            if isinstance(failure, kinds):
                return word(f"Kafka: {failure or type(failure).__name__}")
    first = found[0]
    return Unavailable(f"Kafka: {'; '.join(refusals) or str(first) or type(first).__name__}")
