"""The lives of tickets: worked on with accidents, rivals of a key, links of a chain, too late."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from domain.ticket import commands as c
from domain.ticket.words import Execution, Outcome, Precedence
from domain.workflow import Run, Subject, TaskSpec, Timeouts
from tests.chaos.listening import READY, Heard
from tests.chaos.load import Load

KEYS = 12
"""Keys of tickets that are worked on while newer ones come."""

SOON = 1.0
"""Seconds that a task of those may last who run out of time; what is told takes longer."""


class Lives:
    """One life after the other, of any kind; without *heard* only such as need no one else."""

    def __init__(self, load: Load, heard: Heard | None = None) -> None:
        self.superseded: set[str] = set()
        """Those of which a newer one takes the place before anybody works on them."""
        self.expired: set[str] = set()
        """Those that have nothing but their deadlines to wait for."""
        self.out_of_time: set[str] = set()
        """Those of which a task lasts too long."""
        self._load = load
        self._heard = heard
        self._chance = load.chance

    async def drive(self, driver: int) -> None:
        """Lives of one driver, until no more are to begin."""
        number = 0
        while self._load.is_opening:
            number += 1
            name = f"{driver}-{number}"
            kind = 0.0 if self._heard is None else self._chance.random()
            if kind < 0.7:
                await self._worked_on(name)
            elif kind < 0.8:
                await self._rivals(self._heard, name)
            elif kind < 0.9:
                await self._chain(self._heard, name)
            else:
                await self._out_of_time(self._heard, name)

    # -------------------------------------------------------------------------------- worked on

    async def _worked_on(self, name: str) -> None:
        chance, stream = self._chance, f"ticket/{name}"
        names = [f"task-{n}" for n in range(chance.randint(1, 4))]
        tasks = tuple(
            TaskSpec(
                name=task,
                run=Run("nothing"),
                needs=tuple(chance.sample(names[:n], chance.randint(0, min(n, 2)))),
                retries=chance.randint(0, 3),
                required=chance.random() < 0.8,
            )
            for n, task in enumerate(names)
        )
        supersedes = None
        if self._heard is not None and chance.random() < 0.3:
            key = f"branch-{chance.randrange(KEYS)}"
            supersedes = Precedence(key, chance.randrange(1_000))
        await self._open(name, *tasks, supersedes=supersedes)
        if chance.random() < 0.1:
            await self._load.ask(stream, c.Hold())
            await self._load.ask(stream, c.Unhold())
        for task in names:
            await self._work(stream, task)
        if chance.random() < 0.1:
            await self._load.ask(stream, c.Rerun())
            for task in names:
                await self._work(stream, task)
        await self._load.ask(stream, c.Cancel(reason="whatever is left"))

    async def _work(self, stream: str, task: str) -> None:
        """Claim and report, with accidents, until the task is ready no more."""
        chance, ask = self._chance, self._load.ask
        while True:
            claim = c.Claim(task=task, worker="w", request=f"r{chance.getrandbits(32)}")
            claimed = await ask(stream, claim)
            if claimed.refusal is not None:
                return
            token = claimed.version
            fate = chance.random()
            if fate < 0.1:
                await ask(stream, c.LoseLease(task=task, token=token))
                late = c.Report(task=task, token=token, outcome=Outcome.PASSED)
                refusal = (await ask(stream, late)).refusal
                assert refusal is not None, "a report with an old token was taken"
                continue
            await ask(stream, c.Start(task=task, token=token))
            if fate < 0.2:
                report = c.Report(task=task, token=token, execution=Execution.INFRASTRUCTURE)
            else:
                outcome = Outcome.FAILED if fate < 0.3 else Outcome.PASSED
                report = c.Report(task=task, token=token, outcome=outcome)
            await ask(stream, report)

    # ------------------------------------------------------------------------- what others cause

    async def _rivals(self, heard: Heard | None, name: str) -> None:
        """Several of a key at once, in any order, on any partitions: the newest stays."""
        assert heard is not None
        orders = {f"{name}-rival-{n}": self._chance.randint(1, 4) for n in range(5)}
        newest = max(orders, key=lambda rival: (orders[rival], rival))
        self.superseded |= orders.keys() - {newest}
        await asyncio.gather(
            *(
                self._open(rival, TASK, supersedes=Precedence(f"rivals-{name}", order))
                for rival, order in orders.items()
            )
        )
        for rival in orders.keys() - {newest}:
            await heard.of(rival)
        await self._load.ask(f"ticket/{newest}", c.Cancel(reason="no more rivals come"))

    async def _chain(self, heard: Heard | None, name: str) -> None:
        """Each waits for the one before, and the last for the first too; worked on when ready."""
        assert heard is not None
        links = [f"{name}-link-{n}" for n in range(4)]
        awaited: list[Sequence[str]] = [(), links[:1], links[1:2], [links[2], links[0]]]
        opening = [
            self._open(link, TASK, waits_for=tuple(others))
            for link, others in zip(links, awaited, strict=True)
        ]
        self._chance.shuffle(opening)
        opened = asyncio.gather(*opening)
        for link in links:
            if not await heard.of(link, READY):
                await self._work(f"ticket/{link}", TASK.name)
                await heard.of(link)
        await opened

    async def _out_of_time(self, heard: Heard | None, name: str) -> None:
        """Nobody does what must be done: in the queue, before the start, at work, or at all."""
        assert heard is not None
        chance, stream = self._chance, f"ticket/{name}"
        fate = chance.choice(("queue", "start", "run", "deadline", "awaited"))
        if fate in ("deadline", "awaited"):
            waits_for = ("nobody",) if fate == "awaited" else ()
            deadline = datetime.now(UTC) + timedelta(seconds=chance.uniform(2, 10))
            if not await self._open(name, TASK, waits_for=waits_for, deadline=deadline):
                return
            self.expired.add(name)
        else:
            self.out_of_time.add(name)
            timeouts = Timeouts(queue=SOON, start=SOON, run=SOON)
            task = TaskSpec(name="A", run=Run("nothing"), timeouts=timeouts)
            await self._open(name, task)
            if fate != "queue":
                claim = c.Claim(task="A", worker="w", request=name)
                claimed = await self._load.ask(stream, claim)
                if fate == "run" and claimed.refusal is None:
                    await self._load.ask(stream, c.Start(task="A", token=claimed.version))
        await heard.of(name)

    async def _open(
        self,
        name: str,
        *tasks: TaskSpec,
        supersedes: Precedence | None = None,
        waits_for: tuple[str, ...] = (),
        deadline: datetime | None = None,
    ) -> bool:
        """Whether it was opened: with no deadline, or one that has not passed meanwhile, it is."""
        subject = Subject(kind="commit", project="chaos", name=name, revision="0")
        command = c.Open(
            subject=subject,
            tasks=tasks,
            supersedes=supersedes,
            waits_for=waits_for,
            deadline=deadline,
        )
        refusal = (await self._load.ask(f"ticket/{name}", command)).refusal
        assert refusal is None or (deadline and deadline < datetime.now(UTC)), refusal
        if refusal is None:
            self._load.streams.append(f"ticket/{name}")
        return refusal is None


TASK = TaskSpec(name="A", run=Run("nothing"))
