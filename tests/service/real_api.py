"""The real API with an engine and a projector behind it, in this process, on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from adapters.asking import Asker, asking
from adapters.config import Config
from adapters.credentials import AttemptOf, Credentials
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.tokens import signing_key
from adapters.postgres.views.view import address_of
from adapters.token_file import kept
from domain.envelope import Submitted
from domain.event import Command
from domain.ticket import commands as c
from domain.ticket.words import Artifact, Outcome
from workers.compose import assemble, views_of
from workers.together import Role


class RealApi:
    """Where it is, and what its workers do."""

    def __init__(
        self, address: tuple[str, int], token: str, asker: Asker, credentials: Credentials
    ) -> None:
        self.address = address
        self.token = token
        self._asker = asker
        self._credentials = credentials

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.address
        return f"http://{host}:{port}"

    async def attempt(self, id_: str, task: str) -> tuple[int, str]:
        """A worker claims a task: the attempt's token and its credential."""
        claimed = await self._ask(id_, c.Claim(task=task, worker="w1", request=uuid4().hex))
        return claimed, self._credentials.make(AttemptOf(id_, claimed, task, "w1"))

    async def report(self, id_: str, task: str, token: int, *artifacts: Artifact) -> int:
        """It has passed, and has left these; the version of the ticket with that."""
        await self._ask(id_, c.Start(task=task, token=token))
        report = c.Report(task=task, token=token, outcome=Outcome.PASSED, artifacts=artifacts)
        return await self._ask(id_, report)

    async def run(self, id_: str, *tasks: str) -> None:
        """A worker runs these tasks, and they pass."""
        for task in tasks:
            claimed = await self._ask(id_, c.Claim(task=task, worker="w1", request=uuid4().hex))
            await self._ask(id_, c.Start(task=task, token=claimed))
            report = c.Report(task=task, token=claimed, outcome=Outcome.PASSED)
            await self._ask(id_, report)

    async def claim(self, id_: str, task: str, worker: str) -> int:
        """A worker has the task; the token of its attempt."""
        return await self._ask(id_, c.Claim(task=task, worker=worker, request=uuid4().hex))

    async def watched(self, by: int) -> None:
        """Streams are opened when they say so; it is not known from without."""

    async def _ask(self, id_: str, command: Command) -> int:
        answer = await self._asker.ask(Submitted(uuid4(), f"ticket/{id_}", command, "w1"))
        assert answer.refusal is None, answer.refusal
        return answer.version


@asynccontextmanager
async def real(address: Address, folder: Path, **settings: Any) -> AsyncIterator[RealApi]:
    """A service of its own, while it serves."""
    config = Config(
        database_url=address.dsn,
        schema=address.schema,
        data=str(folder),
        http="127.0.0.1:0",
        partitions=2,
        lease=2.0,
        **settings,
    )
    async with (
        assemble(config, views=views_of(config), http=True) as service,
        asking(service.log) as asker,
    ):
        api = service.api()
        roles: list[Role] = [api, service.engine(), service.projector()]
        running = [asyncio.create_task(role.run()) for role in roles]
        try:
            async with asyncio.timeout(20):
                while api.address.endswith(":0"):
                    await asyncio.sleep(0.01)
            host, _, port = api.address.rpartition(":")
            token = kept(str(folder))
            assert token is not None
            async with open_pool(address_of(address, "access"), 1) as pool:
                credentials = Credentials(await signing_key(pool, "attempts"))
            yield RealApi((host, int(port)), token, asker, credentials)
        finally:
            for role in roles:
                role.stop()
            await asyncio.gather(*running)
