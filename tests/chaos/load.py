"""Asks for what tickets' lives need, again whenever nothing is heard, and some of it twice."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

from adapters.asking import Asker, NoAnswer
from adapters.client import Refused
from domain.envelope import Answer, Refusal, Submitted
from domain.event import Command
from domain.ticket import commands as c
from tests.chaos.over_http import OverHttp

HTTP_SHARE = 0.4
"""Of what may come over HTTP, so much does."""

OVER_HTTP = (c.Open, c.Cancel, c.Rerun, c.Hold, c.Unhold)


class Load:
    """A fifth of the commands goes twice. *http* is there where an API is."""

    def __init__(self, asker: Asker, seed: int, http: OverHttp | None = None) -> None:
        self.answers: dict[UUID, Answer] = {}
        self.streams: list[str] = []
        self.repeated = 0
        self.chance = random.Random(seed)
        self.is_opening = True
        self.http = http
        self._asker = asker
        self._later: list[Callable[[], Awaitable[None]]] = []

    async def run(self, drivers: int, drive: Callable[[int], Awaitable[None]]) -> None:
        """Until every driver has come to its end, which follows when no more is to be opened."""
        async with asyncio.TaskGroup() as group:
            repeating = group.create_task(self._repeat())
            await asyncio.gather(*(drive(n) for n in range(drivers)))
            repeating.cancel()
        for again in self._later:  # some of them minutes after the first time
            await again()

    def stop(self) -> None:
        """Open no more tickets."""
        self.is_opening = False

    async def ask(self, stream: str, command: Command) -> Answer:
        """The answer, refusals included."""
        id_ = UUID(int=self.chance.getrandbits(128), version=4)
        over_http = isinstance(command, OVER_HTTP) and self.chance.random() < HTTP_SHARE
        if self.http is not None and over_http:
            return await self._over_http(self.http, stream, command, id_)
        asked = Submitted(id=id_, stream=stream, command=command, actor="chaos")
        answer = await self._until_answered(asked)
        if answer.refusal is None:
            self.answers[asked.id] = answer

        async def again() -> None:
            second = await self._until_answered(asked)
            assert answer.refusal or answer.version == second.version, "another second answer"

        self._maybe_later(again)
        return answer

    async def _over_http(self, http: OverHttp, stream: str, command: Command, id_: UUID) -> Answer:
        ticket = stream.removeprefix("ticket/")
        try:
            first = await http.ask(ticket, command, id_)
        except Refused as refused:
            problem = refused.problem
            return Answer(id_, 0, refusal=Refusal(problem.type, problem.detail))

        async def again() -> None:
            second = await http.ask(ticket, command, id_)
            assert first.version == second.version, "another second answer over HTTP"

        self._maybe_later(again)
        return Answer(id_, first.partition, first.version, first.sequence)

    async def _until_answered(self, asked: Submitted) -> Answer:
        while True:
            try:
                return await self._asker.ask(asked, timeout=5)
            except NoAnswer:
                continue

    def _maybe_later(self, again: Callable[[], Awaitable[None]]) -> None:
        if self.chance.random() < 0.2:
            self._later.append(again)

    async def _repeat(self) -> None:
        """Ask again, in no order; half of it at once, the rest at the end."""
        while True:
            await asyncio.sleep(0.5)
            self.chance.shuffle(self._later)
            half = len(self._later) // 2
            now, self._later = self._later[:half], self._later[half:]
            self.repeated += len(now)
            await asyncio.gather(*(again() for again in now))
