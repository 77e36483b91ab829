"""One attempt: sources and inputs are brought, the steps run, what is left is taken away.

The phase decides whose fault a failure is: before the task's own code starts, and after it has
ended, it is the infrastructure's, unless the workflow itself is wrong.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from adapters.client import AttemptClient, Claimed, Reported, errors
from adapters.execution.errors import ExecutionError
from adapters.execution.marks import marks
from adapters.execution.provider import Provider, Room, Workplace
from adapters.sources import Local, NotFetched, fetch
from adapters.sources.threads import in_thread
from domain.errors import Invalid
from domain.shell import KIND, Shell, Step, shell_of, steps_of
from domain.ticket.words import Execution, Told
from domain.workflow import Source
from workers.runner.artifacts import Collected, Unfit, collect, place, store
from workers.runner.fitting import fitting
from workers.runner.home import Home
from workers.runner.shipping import Shipper
from workers.runner.steps import place_of, run_steps

log = structlog.get_logger()

PATIENCE: Final = 7 * 86_400.0
"""Seconds for which the log and the artifacts of an attempt wait for a service that is away: as
long as the attempt is ours. When it is not any more, we hear of it."""

_WRONG: Final = Execution.CONFIGURATION


class Tools(Struct, frozen=True):
    """What attempts are run with: the service's address, where, by what, and with which settings.

    The `environment` is what tasks have beside their own variables. What is not `local` they get
    nothing of from this machine; None is for tasks that may read it anyway.
    """

    url: str
    home: Home
    provider: Provider
    environment: Mapping[str, str]
    local: Local | None = None


async def execute(tools: Tools, order: Claimed, started: Callable[[], None]) -> Reported:
    """Run the attempt and say what is to be told of it; cancelled, leave nothing of it."""
    async with AttemptClient(
        tools.url, order.credential, order.ticket, order.token, patience=PATIENCE
    ) as client:
        told = fitting(await _Attempt(tools, order, client, started).run())
    about = {"ticket": order.ticket, "task": order.task, "token": order.token}
    return msgspec.convert({**msgspec.to_builtins(told), **about, "kind": "reported"}, Reported)


class _Attempt:
    """An order that is carried out once."""

    def __init__(
        self, tools: Tools, order: Claimed, client: AttemptClient, started: Callable[[], None]
    ) -> None:
        self._tools = tools
        self._order = order
        self._client = client
        self._started = started

    async def run(self) -> Told:
        """Bring, run, take away. What the attempt has said is its log."""
        order = self._order
        try:
            if order.spec.run.kind != KIND:
                raise Invalid(field="run.kind", reason=f"this runner runs {KIND!r}, no other")
            shell = shell_of(order.spec.run.parameters)
            steps = steps_of(shell)
        except Invalid as error:
            return Told(execution=Execution.CONFIGURATION, reason=str(error))
        try:
            limit = (await self._client.append_log(0, b"")).limit
        except errors.TurnstileError as error:
            return Told(execution=Execution.INFRASTRUCTURE, reason=f"log: {error}")
        # Who reads the log must not be able to report in the attempt's place.
        secret = [*order.secrets.values(), order.credential]
        shipper = Shipper(self._client.append_log, secret, limit)
        try:
            try:
                async with self._tools.home.place(order.ticket, order.token) as place:
                    told = await self._told(shell, steps, place, shipper)
            except OSError as error:
                told = Told(execution=Execution.INFRASTRUCTURE, reason=f"work directory: {error}")
            return await self._shipped(told, shipper)
        except BaseException:  # also where the attempt was lost: its log gets nothing any more
            await shipper.abandon()
            raise

    async def _told(
        self, shell: Shell, steps: Sequence[Step], place: Path, shipper: Shipper
    ) -> Told:
        tree, private = place / "work", place / "private"
        for folder in (tree, private):
            folder.mkdir()
        workplace = Workplace(
            directory=tree,
            private=private,
            attempt=f"{self._order.ticket}/{self._order.token}",
            home=self._tools.home.id,
            environment=self._environment(shell),
            network=shell.network,
        )
        try:
            workplace = replace(workplace, shown=await self._bring(workplace, shipper))
            directory = place_of(shell, tree)
        except NotFetched as error:
            return Told(execution=error.execution, reason=error.reason)
        except Invalid as error:
            return Told(execution=Execution.CONFIGURATION, reason=str(error))
        except Unfit as error:
            return Told(execution=Execution.CONFIGURATION, reason=f"inputs: {error}")
        except (errors.TurnstileError, OSError) as error:
            return Told(execution=Execution.INFRASTRUCTURE, reason=f"inputs: {error}")
        try:
            async with self._tools.provider.open(workplace) as room:
                self._started()
                told = await self._run(room, directory, steps, shipper)
        except (ExecutionError, OSError) as error:
            return Told(execution=Execution.INFRASTRUCTURE, reason=str(error))
        return await self._with_artifacts(told, tree, directory, shell, shipper)

    async def _bring(self, workplace: Workplace, shipper: Shipper) -> Sequence[Path]:
        """The sources, and the artifacts of other tasks; what the sources need besides."""
        order, tree = self._order, workplace.directory
        borrowed = await fetch(
            msgspec.convert(msgspec.to_builtins(order.spec.sources), tuple[Source, ...]),
            tree,
            mirrors=self._tools.home.mirrors,
            tell=shipper.write,
            environment=marks(workplace),
            deadline=asyncio.get_running_loop().time() + order.spec.timeouts.start,
            local=self._tools.local,
        )
        await place(self._client, order.inputs, tree)
        return borrowed

    async def _run(
        self, room: Room, directory: Path, steps: Sequence[Step], shipper: Shipper
    ) -> Told:
        """The task's own code: what fails here is the test."""
        order = self._order
        ran = await run_steps(
            room,
            order.task,
            steps,
            environment={},
            directory=directory,
            limit=order.spec.timeouts.run,
            output=shipper.write,
        )
        return Told(
            execution=ran.execution, outcome=ran.outcome, reason=ran.reason, results=ran.results
        )

    def _environment(self, shell: Shell) -> Mapping[str, str]:
        """What every command has: the runner's, who it is, the task's, and its secrets."""
        order = self._order
        return {
            **self._tools.environment,
            "TURNSTILE_URL": self._tools.url,
            "TURNSTILE_TOKEN": order.credential,
            "TURNSTILE_TICKET": order.ticket,
            "TURNSTILE_TASK": order.task,
            **shell.environment,
            **order.secrets,
        }

    async def _with_artifacts(
        self, told: Told, tree: Path, directory: Path, shell: Shell, shipper: Shipper
    ) -> Told:
        """Take away what the task has left, whatever its outcome; that it can be had is ours."""
        if not shell.artifacts:
            return told
        try:
            found = await in_thread(
                lambda wanted: collect(directory, shell.artifacts, tree=tree, wanted=wanted)
            )
            await store(self._client, directory, found.artifacts)
        except Unfit as error:  # with this workflow it will be so again
            return replace(_unsaved(told, f"artifacts: {error}"), execution=_WRONG)
        except (errors.TurnstileError, OSError) as error:
            return _unsaved(told, f"artifacts: {error}")
        await shipper.write(f"[turnstile] {_kept(found)}\n".encode())
        return replace(told, artifacts=found.artifacts)

    async def _shipped(self, told: Told, shipper: Shipper) -> Told:
        """The attempt's log is whole, or the attempt has no log, which is ours to mend."""
        order = self._order
        if told.reason:
            await shipper.write(f"[turnstile] {told.reason}\n".encode())
        try:
            size = await shipper.close()
        except (errors.TurnstileError, OSError) as error:
            return _unsaved(told, f"log: {error}")
        if not size:
            return told
        return replace(told, log=f"/v1/tickets/{order.ticket}/attempts/{order.token}/log")


def _kept(found: Collected) -> str:
    """For the log: how many artifacts there are, and which patterns may be wrong."""
    count = len(found.artifacts)
    kept = "1 artifact is kept" if count == 1 else f"{count} artifacts are kept"
    if not found.unmatched:
        return kept
    return f"{kept}; no file matches {', '.join(map(repr, found.unmatched))}"


def _unsaved(told: Told, reason: str) -> Told:
    """What it has come to counts no more if nobody can see it; it is tried again."""
    return replace(told, execution=Execution.INFRASTRUCTURE, outcome=None, reason=reason)
