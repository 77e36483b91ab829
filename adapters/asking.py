"""Asking: send a command, await its answer, and ask again safely when none comes.

The same command id gets the same answer, however often it is sent. So whoever loses an answer
(a lost reply, a killed engine, an own restart) just asks again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import msgspec

from adapters.log import Log, Replies, Unavailable
from domain.envelope import Answer, Submitted

AGAIN = 2.0
"""Seconds after which an unanswered command is sent again; twice as many each time."""


class NoAnswer(Exception):
    """No answer came in time. The command may be accepted still: ask again with the same id."""


class Asker:
    """Asks many things at once; commands that wait at the same time are sent together."""

    def __init__(self, log: Log, replies: Replies) -> None:
        self._log = log
        self._replies = replies
        self._asked: dict[UUID, asyncio.Future[Answer]] = {}
        self._outbox: list[Submitted] = []
        self._sending = asyncio.Event()

    async def ask(self, command: Submitted, timeout: float = 30.0) -> Answer:
        """The answer to *command*, refusals included.

        Raises:
            NoAnswer: none came within *timeout* seconds, whatever was tried.
            TooLarge: the command is over the record limit.
        """
        asked = self._asked.get(command.id)
        if asked is None:
            asked = self._asked[command.id] = asyncio.get_running_loop().create_future()
        command = msgspec.structs.replace(command, reply_to=self._replies.address)
        try:
            async with asyncio.timeout(timeout):
                return await self._until_answered(command, asked)
        except TimeoutError:
            raise NoAnswer(f"{command.command.topic} {command.id}: {NoAnswer.__doc__}") from None
        finally:
            self._asked.pop(command.id, None)

    async def _until_answered(self, command: Submitted, asked: "asyncio.Future[Answer]") -> Answer:
        wait = AGAIN
        while True:
            self._outbox.append(command)
            self._sending.set()
            done, _ = await asyncio.wait({asked}, timeout=wait)
            if done:
                return asked.result()
            wait *= 2

    async def send_outbox(self) -> None:
        """Send what waits, for ever."""
        while True:
            await self._sending.wait()
            self._sending.clear()
            commands, self._outbox = self._outbox, []
            try:
                await self._log.send(commands)
            except Unavailable:
                continue  # each is sent again until its asker gives up
            except Exception:
                await self._send_apart(commands)

    async def _send_apart(self, commands: Sequence[Submitted]) -> None:
        """One of them cannot be sent: say so to its asker, and send the others."""
        for command in commands:
            try:
                await self._log.send([command])
            except Unavailable:
                continue
            except Exception as own:
                if (asked := self._asked.get(command.id)) and not asked.done():
                    asked.set_exception(own)

    async def take_answers(self) -> None:
        """Hand answers to who asked, for ever."""
        while True:
            for answer in await self._replies.receive():
                asked = self._asked.get(answer.command_id)
                if asked is not None and not asked.done():
                    asked.set_result(answer)


@asynccontextmanager
async def asking(log: Log) -> AsyncIterator[Asker]:
    """An asker, as long as the context lasts."""
    async with log.replies() as replies:
        asker = Asker(log, replies)
        tasks = [
            asyncio.create_task(asker.send_outbox()),
            asyncio.create_task(asker.take_answers()),
        ]
        try:
            yield asker
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
