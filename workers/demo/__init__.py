"""The demonstration: a ticket's life goes on although the engine is killed in the middle of it.

Everything is real: the log, engines as processes of their own, kill -9. Played is only who is
around the ticket: its author, the workers, and who notices that one of them is gone.

    story.py     what happens: START READING HERE
    checks.py    what must be true of the log afterwards
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

import msgspec
from msgspec import Struct

from adapters.asking import NoAnswer, asking
from adapters.config import Config
from adapters.kafka import temporary as kafka
from adapters.kafka.connection import Address as KafkaAddress
from adapters.log import Log, LogError
from adapters.postgres.server import ServerError, bundled
from adapters.postgres.temporary import temporary
from domain.envelope import Recorded
from projections import history
from workers.child import Ended
from workers.compose import assemble
from workers.demo.checks import Check, checks
from workers.demo.story import TICKET, Engines, Stage, Story, Unexpected

__all__ = ["TICKET", "Check", "DemoFailed", "Shown", "Stage", "demo"]

LEASE: Final = 2.0
"""Seconds after which an engine that was killed has lost its partitions."""

LIMIT: Final = 60.0
"""Seconds that the story may take."""


class DemoFailed(Exception):
    """Something did not happen as it must. `logs` are the ends of what the engines said."""

    def __init__(self, reason: str, logs: Mapping[str, Sequence[str]]) -> None:
        super().__init__(reason)
        self.logs = logs


class Shown(Struct, frozen=True):
    """What is left when all is over. The configuration leads to what was kept, if anything was."""

    history: Sequence[history.Row]
    checks: Sequence[Check]
    config: Config


async def demo(config: Config, stage: Stage, *, keep: bool = False) -> Shown:
    """Show it, and check it. Nothing is left behind, unless it is to *keep* files and schema.

    Raises DemoFailed.
    """
    try:
        with _folder(keep=keep) as folder:
            async with _place(config, folder, stage, keep=keep) as place:
                return await _show(place, folder, stage)
    except (LogError, ServerError, OSError) as error:
        raise DemoFailed(f"{error}{_where(config)}", {}) from error


def _where(config: Config) -> str:
    """Whose server it was, if it was somebody's own."""
    shown = config.shown()
    for setting, name in (("kafka", "TURNSTILE_KAFKA"), ("database_url", "DATABASE_URL")):
        if shown[setting] is not None:
            return f" ({name}={shown[setting]})"
    return ""


async def _show(config: Config, folder: Path, stage: Stage) -> Shown:
    async with (
        assemble(config) as service,
        asking(service.log) as asker,
        Engines(config, folder) as engines,
    ):
        story = Story(asker, engines, stage)
        try:
            async with asyncio.timeout(LIMIT):
                await story.tell()
                log = {n: await _events(service.log, n) for n in range(service.log.partitions)}
        except (Unexpected, Ended, NoAnswer, LogError) as error:
            raise DemoFailed(str(error), engines.logs()) from error
        except TimeoutError as error:
            raise DemoFailed(f"it took longer than {LIMIT:g} s", engines.logs()) from error
    ticket = [fact for facts in log.values() for fact in facts if fact.originator_id == TICKET]
    return Shown(
        history=tuple(history.rows(ticket)),
        checks=tuple(checks(log, TICKET, story.answers, story.claim, story.late)),
        config=config,
    )


async def _events(log: Log, partition: int) -> list[Recorded]:
    """All that the partition has now."""
    end = await log.end(partition)
    events: list[Recorded] = []
    if end:
        async for page in log.follow(partition):
            events += page
            if events[-1].sequence >= end:
                break
    return events


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """A directory that the bundled server's own user reaches, also where we are root."""
    folder = Path(mkdtemp(prefix="turnstile-demo-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if not keep:
            rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _place(
    config: Config, folder: Path, stage: Stage, *, keep: bool
) -> AsyncIterator[Config]:
    """A log of its own: on the bundled server, or in the Kafka or database that is configured."""
    config = msgspec.structs.replace(
        config, data=str(folder), lease=LEASE, log_level="info", log_format="json"
    )
    if config.kafka is not None:
        cluster = KafkaAddress.of(config)
        lease = max(LEASE, await kafka.shortest_lease(cluster))
        async with kafka.temporary(cluster, "demo", keep=keep) as own:
            stage.tell("Kafka", f"is there; the log gets topics of its own, {own.topics}.*")
            # What engines keep beside the log.
            async with bundled(folder / "postgres", fsync=keep) as server:
                yield msgspec.structs.replace(
                    config, kafka_topics=own.topics, lease=lease, database_url=server.dsn
                )
        return
    if config.database_url is not None:
        async with temporary(config.database_url, "demo", keep=keep) as address:
            stage.tell("PostgreSQL", f"is yours; the log gets the schema {address.schema}")
            yield msgspec.structs.replace(config, schema=address.schema)
        return
    stage.tell("PostgreSQL", "the bundled one starts in a directory of its own")
    # What is thrown away need not survive a power cut.
    async with bundled(folder / "postgres", fsync=keep) as server:
        stage.tell("PostgreSQL", f"answers (process {server.pid})")
        yield msgspec.structs.replace(config, database_url=server.dsn)
