"""Tickets through their lives, by drivers that ask again whenever they hear nothing."""

import asyncio
import random
from uuid import UUID

from adapters.asking import Asker, NoAnswer
from domain.envelope import Answer, Submitted
from domain.event import Command
from domain.ticket import commands as c
from domain.ticket.words import Execution, Outcome
from domain.workflow import Run, Subject, TaskSpec


class Load:
    """Opens tickets and works on them until told to stop. A fifth of the commands goes twice."""

    def __init__(self, asker: Asker, seed: int) -> None:
        self.answers: dict[UUID, Answer] = {}
        self.streams: list[str] = []
        self.repeated = 0
        self._asker = asker
        self._chance = random.Random(seed)
        self._later: list[Submitted] = []
        self._opening = True

    async def run(self, drivers: int) -> None:
        """Until `stop`, and then until every ticket that was opened has ended."""
        async with asyncio.TaskGroup() as group:
            repeating = group.create_task(self._repeat())
            working = [group.create_task(self._drive(n)) for n in range(drivers)]
            await asyncio.wait(working)
            repeating.cancel()
        for command in self._later:  # some of them minutes after the first time
            await self._again(command)

    def stop(self) -> None:
        """Open no more tickets."""
        self._opening = False

    async def _drive(self, driver: int) -> None:
        number = 0
        while self._opening:
            number += 1
            await self._live(f"ticket/{driver}-{number}")

    async def _live(self, stream: str) -> None:
        chance = self._chance
        names = [f"task-{n}" for n in range(chance.randint(1, 4))]
        tasks = tuple(
            TaskSpec(
                name=name,
                run=Run("nothing"),
                needs=tuple(chance.sample(names[:n], chance.randint(0, min(n, 2)))),
                retries=chance.randint(0, 3),
                required=chance.random() < 0.8,
            )
            for n, name in enumerate(names)
        )
        self.streams.append(stream)
        subject = Subject(kind="commit", project="chaos", name=stream, revision="0")
        await self._ask(stream, c.Open(subject=subject, tasks=tasks))
        if chance.random() < 0.1:
            await self._ask(stream, c.Hold())
            await self._ask(stream, c.Unhold())
        for name in names:
            await self._work(stream, name)
        if chance.random() < 0.1:
            await self._ask(stream, c.Rerun())
            for name in names:
                await self._work(stream, name)
        await self._ask(stream, c.Cancel(reason="whatever is left"))

    async def _work(self, stream: str, task: str) -> None:
        """Claim and report, with accidents, until the task is ready no more."""
        chance = self._chance
        while True:
            claim = c.Claim(task=task, worker="w", request=f"r{chance.getrandbits(32)}")
            claimed = await self._ask(stream, claim)
            if claimed.refusal is not None:
                return
            token = claimed.version
            fate = chance.random()
            if fate < 0.1:
                await self._ask(stream, c.LoseLease(task=task, token=token))
                late = c.Report(task=task, token=token, outcome=Outcome.PASSED)
                refusal = (await self._ask(stream, late)).refusal
                assert refusal is not None, "a report with an old token was taken"
                continue
            await self._ask(stream, c.Start(task=task, token=token))
            if fate < 0.2:
                report = c.Report(task=task, token=token, execution=Execution.INFRASTRUCTURE)
            else:
                outcome = Outcome.FAILED if fate < 0.3 else Outcome.PASSED
                report = c.Report(task=task, token=token, outcome=outcome)
            await self._ask(stream, report)

    async def _ask(self, stream: str, command: Command) -> Answer:
        asked = Submitted(
            id=UUID(int=self._chance.getrandbits(128), version=4),
            stream=stream,
            command=command,
            actor="chaos",
        )
        answer = await self._until_answered(asked)
        if answer.refusal is None:
            self.answers[asked.id] = answer
        if self._chance.random() < 0.2:
            self._later.append(asked)
        return answer

    async def _until_answered(self, asked: Submitted) -> Answer:
        while True:
            try:
                return await self._asker.ask(asked, timeout=5)
            except NoAnswer:
                continue

    async def _repeat(self) -> None:
        """Send again what was accepted, in no order; half of it at once, the rest at the end."""
        while True:
            await asyncio.sleep(0.5)
            self._chance.shuffle(self._later)
            half = len(self._later) // 2
            now, self._later = self._later[:half], self._later[half:]
            await asyncio.gather(*(self._again(command) for command in now))

    async def _again(self, command: Submitted) -> None:
        self.repeated += 1
        first = self.answers.get(command.id)
        again = await self._until_answered(command)
        if first is not None:
            assert first.version == again.version, "the second answer was another"
