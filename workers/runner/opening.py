"""A runner put together: its home, its client of the service, and what it runs attempts with."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

from adapters.client import AttemptClient, WorkerClient
from adapters.execution.marks import adopt, sweep
from adapters.execution.process import ProcessProvider
from adapters.execution.provider import Provider
from adapters.execution.sandbox import SandboxProvider
from adapters.sources import Local, prune
from workers.runner.attempt import Tools, execute
from workers.runner.delivery import Delivery, Kept, Reports, deliver_left
from workers.runner.home import Home, home
from workers.runner.machine import capabilities
from workers.runner.runner import Runner

PROVIDERS = ("process", "sandbox")
"""The names of what attempts can be run by."""

TELLING = 10.0
"""Seconds after which the service is asked again for what it has not answered."""


class Settings(Struct, frozen=True, kw_only=True):
    """What a runner is.

    `environment` is what tasks have beside their own variables. It takes `only` such as require
    something of each of these. With `once` it takes what one claim gives, for which it waits `wait`
    seconds. `drain` is for how many seconds attempts may go
    on when it is stopped. What is `hidden` no sandbox shows: the service's own data and secrets,
    where it is on this machine too; and its tasks have sources of this machine only from below the
    `local` directories.
    """

    worker: str
    directory: Path
    url: str
    token: str | None = None
    slots: int = 1
    capabilities: Mapping[str, tuple[str, ...]] = {}
    provider: str = "process"
    environment: Mapping[str, str] = {}
    only: Sequence[str] = ()
    once: bool = False
    wait: float = 20.0
    drain: float = 600.0
    hidden: Sequence[Path] = ()
    local: Sequence[Path] = ()


@asynccontextmanager
async def open_runner(settings: Settings) -> AsyncIterator[Runner]:
    """A runner that can begin: what an earlier one of this home has left is told and gone.

    Raises HomeTaken, OSError.
    """
    with home(settings.directory) as held:
        adopt()
        await asyncio.to_thread(sweep, held.id)
        held.clear()
        await prune(held.mirrors)
        reports = Reports(held.reports)
        await deliver_left(reports, partial(_tell, settings.url))
        async with WorkerClient(
            settings.url,
            settings.token,
            worker=settings.worker,
            session=uuid4().hex,
            patience=TELLING,
        ) as client:
            tools = Tools(
                settings.url,
                held,
                _provider(settings, held),
                settings.environment,
                _local(settings, held),
            )
            yield Runner(
                settings.worker,
                client,
                Delivery(reports, client.report),
                partial(execute, tools),
                home=held.id,
                capabilities=capabilities(settings.worker, settings.provider)
                | dict(settings.capabilities),
                slots=settings.slots,
                once=settings.once,
                wait=settings.wait,
                only=settings.only,
                limit=settings.drain,
            )


def _provider(settings: Settings, held: Home) -> Provider:
    if settings.provider == "sandbox":
        return SandboxProvider(hidden=[*settings.hidden, held.path])
    return ProcessProvider()


def _local(settings: Settings, held: Home) -> Local | None:
    """What sources of this machine there are; all that its user may read, unless it is hidden."""
    if settings.provider == "sandbox":
        return Local(settings.local, (*settings.hidden, held.path))
    return None


async def _tell(url: str, kept: Kept) -> None:
    """Tell a report by itself: who has left it was another session of ours."""
    report = kept.report
    async with AttemptClient(
        url, kept.credential, report.ticket, report.token, patience=TELLING
    ) as client:
        await client.report(report)
