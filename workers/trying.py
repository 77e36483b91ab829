"""A command tried on the present commit: a ticket of one task, and a runner for it alone.

a service      the one that listens, or `turnstile up` for as long as it takes
a ticket       of this repository's HEAD, which requires one worker by its name
that worker    for one claim, only of what names it
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from adapters.client import (
    Accepted,
    Attempt,
    Client,
    Opening,
    Run,
    Source,
    Subject,
    TaskSpec,
    Ticket,
    Timeouts,
    errors,
)
from adapters.config import Config
from adapters.token_file import kept
from workers.child import Child, Ended
from workers.runner.opening import Settings, open_runner

STARTING: Final = 60.0
"""Seconds that a service may take to listen."""

WAIT: Final = 30.0
"""Seconds that its runner waits for the task."""

CANCELLING: Final = 5.0
"""Seconds in which a service that is asked to end the ticket should have answered."""

LOOK: Final = 0.05
"""Seconds between two looks for what is to come soon."""

ENDING: Final = 30.0
"""Seconds that the views may take to show the end of what its runner has told."""

TASK: Final = "command"
"""The name of the only task."""


class NotTried(Exception):
    """It cannot be tried here; says why."""


class Commit(Struct, frozen=True):
    """What is tested: a commit of a repository of this machine. What differs is not tested."""

    repository: Path
    revision: str
    branch: str
    differs: bool


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be tried: the command, and what of it is to be kept; `limit` in seconds.

    What is `hidden` it does not see in a sandbox.
    """

    command: Sequence[str]
    artifacts: Sequence[str] = ()
    environment: dict[str, str] = {}
    provider: str = "process"
    limit: float = 3_600.0
    hidden: Sequence[Path] = ()


def present_commit(directory: Path) -> Commit:
    """The HEAD of the repository that a directory is in. Raises NotTried."""
    top = Path(_git(directory, "rev-parse", "--show-toplevel"))
    if not _git(top, "rev-list", "--all", "--max-count=1"):
        raise NotTried(f"there is no commit in {top} yet")
    return Commit(
        repository=top,
        revision=_git(top, "rev-parse", "HEAD"),
        branch=_git(top, "rev-parse", "--abbrev-ref", "HEAD"),
        differs=bool(_git(top, "status", "--porcelain")),
    )


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ("git", "-C", str(directory), *arguments), capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise NotTried("there is no git on the PATH") from error
    except subprocess.CalledProcessError as error:
        raise NotTried(error.stderr.strip() or f"git {arguments[0]} failed") from error
    return done.stdout.strip()


class Told(Struct, frozen=True):
    """Who hears of it: of the ticket that is opened, and of what the command says."""

    opened: Callable[[str], None]
    said: Callable[[bytes], None]


async def trying(config: Config, commit: Commit, wanted: Wanted, told: Told) -> Ticket:
    """Try it, and return the ticket when it has ended; cancelled, cancel that.

    Raises NotTried, TurnstileError.
    """
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_service(config))
        token = config.token or kept(config.data)
        client = await stack.enter_async_context(Client(url, token))
        worker = f"run-{token_hex(4)}"
        accepted = await client.open(_opening(worker, commit, wanted))
        await stack.enter_async_context(_cancelled_if_it_fails(client, accepted.ticket))
        told.opened(accepted.ticket)
        folder = stack.enter_context(TemporaryDirectory(prefix="turnstile-run-"))
        settings = Settings(
            worker=worker,
            directory=Path(folder),
            url=url,
            token=token,
            provider=wanted.provider,
            environment=wanted.environment,
            only=("worker",),
            once=True,
            wait=WAIT,
            drain=0.0,
            hidden=wanted.hidden,
            local=[commit.repository],
        )
        return await _run(client, accepted, settings, told)


async def _run(client: Client, accepted: Accepted, settings: Settings, told: Told) -> Ticket:
    ticket = accepted.ticket
    await client.ticket(ticket, after=accepted.after)  # now it is in the queue
    async with open_runner(settings) as runner:
        working = asyncio.create_task(runner.run())
        following = asyncio.create_task(_follow(client, ticket, told.said))
        waiting = asyncio.create_task(client.wait(accepted))
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()  # what it had to tell is told: the ticket ends, or was never its
            async with asyncio.timeout(ENDING):
                ended = await waiting
            await _said(following)
            return ended
        except TimeoutError as error:
            raise NotTried(f"its runner got nothing: `turnstile show {ticket}`") from error
        finally:
            runner.stop()
            for one in (following, waiting):
                one.cancel()
            await asyncio.gather(working, following, waiting, return_exceptions=True)


@asynccontextmanager
async def _cancelled_if_it_fails(client: Client, ticket: str) -> AsyncIterator[None]:
    """Have the ticket cancelled where it does not come to its end: nobody else can run it."""
    try:
        yield
    except BaseException as error:  # whoever ran it has stopped it, or there is no runner
        stopped = isinstance(error, asyncio.CancelledError)
        reason = "whoever ran it has stopped it" if stopped else "its runner has ended without it"
        with suppress(errors.TurnstileError, TimeoutError):
            async with asyncio.timeout(CANCELLING):
                await client.cancel(ticket, reason=reason)
        raise


async def _follow(client: Client, ticket: str, said: Callable[[bytes], None]) -> None:
    """Tell what each attempt says, one after another."""
    seen: set[int] = set()
    while True:
        attempts: list[Attempt] = [one async for one in client.attempts(ticket)]
        for attempt in attempts:
            if attempt.token not in seen:
                await _log(client, attempt, said)
                seen.add(attempt.token)
        await asyncio.sleep(LOOK)


async def _log(client: Client, attempt: Attempt, said: Callable[[bytes], None]) -> None:
    while True:
        try:
            async for part in client.log(attempt.ticket, attempt.token, follow=True):
                said(part)
            return
        except errors.NotFound:  # it has said nothing yet
            now = [one async for one in client.attempts(attempt.ticket)]
            if any(one.token == attempt.token and one.ended_at for one in now):
                return
            await asyncio.sleep(LOOK)


async def _said(following: "asyncio.Task[None]") -> None:
    """A moment for the last words, which may come behind the end."""
    await asyncio.wait({following}, timeout=1.0)


def _opening(worker: str, commit: Commit, wanted: Wanted) -> Opening:
    """The ticket. What the infrastructure does is tried again by whoever runs the command."""
    return Opening(
        id=f"{worker}-{commit.revision[:10]}",
        subject=Subject(
            "commit",
            project=commit.repository.name or "repository",
            name=commit.branch,
            revision=commit.revision,
            url=str(commit.repository),
        ),
        tasks=(
            TaskSpec(
                name=TASK,
                run=Run(
                    "shell",
                    {"command": list(wanted.command), "artifacts": list(wanted.artifacts)},
                ),
                sources=(Source("git", str(commit.repository), commit.revision),),
                requires={"worker": (worker,)},
                retries=0,
                timeouts=Timeouts(run=wanted.limit),
            ),
        ),
    )


@asynccontextmanager
async def _service(config: Config) -> AsyncIterator[str]:
    """Where a service is: the one that is named or listens, otherwise one for this time."""
    url = config.url or f"http://{config.http}"
    if config.url is not None or await _listens(url):
        yield url
        return
    with TemporaryDirectory(prefix="turnstile-up-") as folder:
        own = msgspec.structs.replace(
            config, http="127.0.0.1:0", log_level="info", log_format="json"
        )
        child = await Child.start("up", own, Path(folder) / "up.log")
        try:
            yield f"http://{await child.meanwhile(_address(child))}"
        except Ended:
            if failures := child.said("up_failed"):
                raise NotTried(f"no service starts: {failures[-1]['error']}") from None
            raise
        finally:
            await child.stop()


async def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    except OSError:
        return False
    writer.close()
    return True


async def _address(child: Child) -> str:
    async with asyncio.timeout(STARTING):
        while True:
            if said := child.said("api_listens"):
                return str(said[0]["address"])
            await asyncio.sleep(LOOK)
