"""What happens: a ticket is taken through its life, and the engine is killed in the middle of it.

The author opens a ticket: build, then unit, lint and docs (which is optional). The first attempt
at build meets a broken machine. While worker-1 runs unit and worker-2 claims lint, the engine is
killed. Another takes over and answers the same claim; worker-1, taken for lost, comes back late.
"""

import asyncio
from collections import defaultdict
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import msgspec

from adapters.asking import Asker, NoAnswer
from adapters.config import Config
from domain.envelope import Answer, Submitted
from domain.errors import StaleToken
from domain.event import Command
from domain.ticket.commands import Claim, LoseLease, Open, Report, Start
from domain.ticket.words import Artifact, Execution, Outcome, Result
from domain.workflow import Run, Subject, Takes, TaskSpec
from workers.child import Child

TICKET: Final = "ticket/tower-42"

SUBJECT: Final = Subject(
    kind="pull_request",
    project="tower",
    name="42",
    revision="9f31c05e",
    url="https://forge.example/tower/pulls/42",
)


def _make(target: str, **rest: Any) -> TaskSpec:
    return TaskSpec(
        name=target,
        run=Run(kind="shell", parameters={"command": ["make", target]}),
        requires={"arch": ("x86_64",)},
        **rest,
    )


_BUILT: Final = (Takes(task="build", artifacts=("*.tar.zst",)),)

WORKFLOW: Final = (
    _make("build", retries=1),
    _make("unit", needs=("build",), takes=_BUILT),
    _make("lint", needs=("build",)),
    _make("docs", needs=("build",), takes=_BUILT, required=False),
)

PATIENCE: Final = 20.0
"""Seconds within which everything that is asked must be answered."""

SILENCE: Final = 1.0
"""Seconds to listen to nobody. An engine that lives answers within a few milliseconds."""


class Unexpected(Exception):
    """What happened is not what must happen."""


class Stage(Protocol):
    """Where the story is shown."""

    def tell(self, who: str, what: str) -> None:
        """Somebody did something just now."""
        ...

    def wait(self, what: str) -> None:
        """Nothing can be seen for a while, because of this."""
        ...


class Engines:
    """Engines as processes of their own, which end with this context."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._started: list[Child] = []

    async def __aenter__(self) -> "Engines":
        return self

    async def __aexit__(self, *_: object) -> None:
        for engine in self._started:
            await engine.stop()

    async def start(self, name: str) -> Child:
        """Start an engine of this name."""
        config = msgspec.structs.replace(self._config, name=name)
        engine = await Child.start("engine", config, self._folder / f"{name}.log")
        self._started.append(engine)
        return engine

    def logs(self) -> dict[str, list[str]]:
        """The end of what each of them said."""
        return {engine.log.name: engine.tail() for engine in self._started}


class Story:
    """Told once.

    Attributes:
        answers: what was answered to each command, as often as it was asked.
        claim: the command that was sent while the engine was killed.
        late: the token of the attempt whose report came too late.
    """

    def __init__(self, asker: Asker, engines: Engines, stage: Stage) -> None:
        self.answers: dict[UUID, list[Answer]] = defaultdict(list)
        self.claim = uuid4()
        self.late = 0
        self._killed_at = 0.0
        self._asker = asker
        self._engines = engines
        self._stage = stage
        self._tell = stage.tell
        self._serving: Child | None = None

    async def tell(self) -> None:
        """From the beginning to the end.

        Raises:
            Unexpected: an answer, or an engine's end, is not what it must be.
            NoAnswer: there was none in time.
            Ended: an engine ended by itself.
        """
        first = self._serving = await self._engines.start("engine-a")
        self._tell("engine-a", f"starts (process {first.pid})")
        await self._until_the_kill()
        self._serving = None
        await self._kill(first)
        second = self._serving = await self._engines.start("engine-b")
        self._tell("engine-b", f"starts (process {second.pid}); engine-a’s lease must end first")
        await self._takeover(second)
        await self._after_it()
        status = await second.stop()
        if status != 0:
            raise Unexpected(f"{second.name} ended with status {status} instead of 0")
        self._tell("engine-b", "told to stop, gives its partitions back and ends")

    async def _until_the_kill(self) -> None:
        self._stage.wait("engine-a takes its partitions")
        await self._accepted("author", Open(subject=SUBJECT, tasks=WORKFLOW, priority=10))
        self._tell("author", "opens the ticket: build; then unit, lint, and docs, optional")
        token = await self._begin("worker-1", "build")
        await self._report(
            *("worker-1", "build", token, None, Execution.INFRASTRUCTURE),
            reason="no space left on device",
        )
        self._tell("worker-1", "reports a full disk: not the test’s fault, build is tried again")
        token = await self._begin("worker-2", "build")
        package = Artifact(
            name="tower.tar.zst",
            digest="sha256:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
            size=48_213_004,
        )
        await self._report("worker-2", "build", token, Outcome.PASSED, artifacts=(package,))
        self._tell("worker-2", "reports that build passed; what needs it is ready")
        self.late = await self._begin("worker-1", "unit")

    async def _kill(self, engine: Child) -> None:
        """The claim of lint is on its way, and the engine dies."""
        claim = asyncio.create_task(self._claim_of_lint(SILENCE))
        await asyncio.sleep(0)  # it is on its way
        self._killed_at = monotonic()
        await engine.kill()
        self._tell("worker-2", "claims lint …")
        self._tell(
            "kill -9", f"… and in the same moment {engine.name} is gone (process {engine.pid})"
        )
        self._stage.wait("does anybody answer?")
        try:
            await claim
        except NoAnswer:
            self._tell("nobody", f"answers within {SILENCE:g} s; the claim waits in the log")
        else:
            raise Unexpected("somebody answered although the engine was killed")

    async def _takeover(self, engine: Child) -> None:
        """Another engine has the partitions, and answers the same claim."""
        self._stage.wait("worker-2 sends the same claim again, with the same id")
        answer = await self._claim_of_lint(PATIENCE)
        waited = monotonic() - self._killed_at
        events = _folded(engine, answer.partition)
        self._tell(engine.name, f"takes over, folds {events} events, {waited:.1f} s after the kill")
        self._tell("worker-2", f"sent the same claim again and has lint: token {answer.version}")
        again = await self._claim_of_lint(PATIENCE)
        self._tell("worker-2", f"asks once more, and hears the same: token {again.version}")

    async def _claim_of_lint(self, timeout: float) -> Answer:
        """Always the same command: it has the same id."""
        return await self._ask("worker-2", _claim("lint", "worker-2"), timeout, id=self.claim)

    async def _after_it(self) -> None:
        await self._accepted("reaper", LoseLease(task="unit", token=self.late))
        self._tell("reaper", f"misses worker-1: its attempt at unit, token {self.late}, is over")
        token = await self._begin("worker-3", "unit")
        results = (Result(testcase="unit/gate", outcome=Outcome.PASSED, duration=1.7),)
        late = Report(task="unit", token=self.late, outcome=Outcome.PASSED, results=results)
        answer = await self._ask("worker-1", late, PATIENCE)
        if answer.refusal is None or answer.refusal.type != StaleToken.type:
            raise Unexpected(f"the late report was not refused as {StaleToken.type}: {answer}")
        self._tell("worker-1", "is back and reports that unit passed …")
        self._tell("engine-b", f"… refused ({answer.refusal.type}): {answer.refusal.detail}")
        await self._report("worker-3", "unit", token, Outcome.PASSED, results=results)
        self._tell("worker-3", "reports that unit passed")
        token = self.answers[self.claim][0].version
        await self._accepted("worker-2", Start(task="lint", token=token))
        await self._report("worker-2", "lint", token, Outcome.PASSED)
        self._tell("worker-2", "starts lint and reports that it passed")
        token = await self._begin("worker-2", "docs")
        await self._report("worker-2", "docs", token, Outcome.FAILED, reason="a link leads nowhere")
        self._tell("worker-2", "reports that docs failed; but it was optional")

    async def _begin(self, worker: str, task: str) -> int:
        """Claim the task and start it. Returns the token."""
        token = (await self._accepted(worker, _claim(task, worker))).version
        await self._accepted(worker, Start(task=task, token=token))
        self._tell(worker, f"claims {task} and starts it: token {token}")
        return token

    async def _report(
        self,
        worker: str,
        task: str,
        token: int,
        outcome: Outcome | None,
        execution: Execution = Execution.OK,
        **rest: Any,
    ) -> None:
        report = Report(task=task, token=token, outcome=outcome, execution=execution, **rest)
        await self._accepted(worker, report)

    async def _accepted(self, actor: str, command: Command) -> Answer:
        answer = await self._ask(actor, command, PATIENCE)
        if answer.refusal is not None:
            raise Unexpected(f"{command.topic} was refused: {answer.refusal.detail}")
        return answer

    async def _ask(
        self, actor: str, command: Command, timeout: float, id: UUID | None = None
    ) -> Answer:
        submitted = Submitted(id=id or uuid4(), stream=TICKET, command=command, actor=actor)
        asking = self._asker.ask(submitted, timeout)
        answer = await (self._serving.meanwhile(asking) if self._serving else asking)
        self.answers[submitted.id].append(answer)
        return answer


def _claim(task: str, worker: str) -> Claim:
    return Claim(
        task=task, worker=worker, request=f"{worker}-{task}", capabilities={"arch": ("x86_64",)}
    )


def _folded(engine: Child, partition: int) -> int:
    """The number of events from which the engine says that it knows the partition."""
    for taken in engine.said("taken_over"):
        if taken["partition"] == partition:
            return int(taken["sequence"])
    raise Unexpected(f"{engine.log.name} does not say that it took partition {partition}")
