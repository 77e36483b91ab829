"""Where the demonstration plays: a directory of its own, and a log of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import msgspec

from adapters.config import Config
from adapters.kafka import temporary as kafka
from adapters.kafka.connection import Address as KafkaAddress
from adapters.postgres.temporary import temporary
from workers.demo.story import Stage


@contextmanager
def folder(*, keep: bool) -> Iterator[Path]:
    """A directory that the bundled server's own user reaches, also where we are root."""
    made = Path(mkdtemp(prefix="turnstile-demo-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        if not keep:
            rmtree(made, ignore_errors=True)


@asynccontextmanager
async def place(config: Config, data: Path, stage: Stage, *, keep: bool) -> AsyncIterator[Config]:
    """The configuration of the service: its log is in what is configured, or in the directory.

    Raises Unavailable.
    """
    config = msgspec.structs.replace(
        config,
        data=str(data),
        store="",
        http="127.0.0.1:0",
        url=None,
        token=None,
        secrets=None,
        reading="public",
        intake={},
        name="service",
        log_level="info",
        log_format="json",
    )
    if config.database_url is not None:
        async with temporary(config.database_url, "demo", keep=keep) as address:
            stage.tell("PostgreSQL", f"is yours; this gets the schema {address.schema}")
            in_schema = msgspec.structs.replace(config, schema=address.schema)
            async with _log(in_schema, stage, keep) as own:
                yield own
        return
    async with _log(config, stage, keep) as own:
        yield own


@asynccontextmanager
async def _log(config: Config, stage: Stage, keep: bool) -> AsyncIterator[Config]:
    if config.kafka is None:
        yield config
        return
    async with kafka.temporary(KafkaAddress.of(config), "demo", keep=keep) as own:
        stage.tell("Kafka", f"is there; the log gets topics of its own, {own.topics}.*")
        yield msgspec.structs.replace(config, kafka_topics=own.topics)
