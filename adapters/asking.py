"""Asking: send a command, await its answer, and ask again safely when none comes.

The same command id gets the same answer, however often it is sent. So whoever loses an answer
(a lost reply, a killed engine, an own restart) just asks again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import msgspec
from msgspec import Struct

from adapters.log import Log, Replies, Unavailable
from domain.envelope import Answer, Submitted

AGAIN = 2.0
"""Seconds after which an unanswered command is sent again; twice as many each time."""

LOOK = 0.1
"""Seconds between two looks at what is overdue: timers of its own would cost each command more
than everything else that is done for it here."""


class NoAnswer(Exception):
    """No answer came in time. The command may be accepted still: ask again with the same id."""


class _Question(Struct, eq=False):
    """A command and who awaits its answer; next sent again at `due`, given up at `deadline`."""

    command: Submitted
    answer: "asyncio.Future[Answer]"
    due: float
    deadline: float
    wait: float = AGAIN


SLOW = 1.0
"""Seconds after which the next commands are sent beside those that are still on their way."""


class Asker:
    """Asks many things at once; commands that wait at the same time are sent together."""

    def __init__(self, log: Log, replies: Replies) -> None:
        self._log = log
        self._replies = replies
        self._questions: dict[UUID, list[_Question]] = {}
        self._outbox: list[Submitted] = []
        self._sending = asyncio.Event()
        self._slow: set[asyncio.Task[None]] = set()

    async def ask(self, command: Submitted, timeout: float = 30.0) -> Answer:
        """The answer to *command*, refusals included.

        Raises:
            NoAnswer: none came within *timeout* seconds, whatever was tried.
            TooLarge: the command is over the record limit.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        question = _Question(
            command=msgspec.structs.replace(command, reply_to=self._replies.address),
            answer=loop.create_future(),
            due=now + min(AGAIN, timeout),
            deadline=now + timeout,
        )
        alike = self._questions.setdefault(command.id, [])
        alike.append(question)
        self._send(question)
        try:
            return await question.answer
        finally:
            alike.remove(question)
            if not alike:
                del self._questions[command.id]

    def _send(self, question: _Question) -> None:
        self._outbox.append(question.command)
        self._sending.set()

    async def send_outbox(self) -> None:
        """Send what waits, for ever."""
        while True:
            await self._sending.wait()
            self._sending.clear()
            commands, self._outbox = self._outbox, []
            sending = asyncio.create_task(self._send_some(commands))
            self._slow.add(sending)
            sending.add_done_callback(self._slow.discard)
            await asyncio.wait({sending}, timeout=SLOW)

    async def _send_some(self, commands: Sequence[Submitted]) -> None:
        try:
            await self._log.send(commands)
        except Unavailable:
            return  # each is sent again until its asker gives up
        except Exception:
            await self._send_apart(commands)

    async def close(self) -> None:
        """Send no more."""
        for sending in self._slow:
            sending.cancel()
        if self._slow:
            await asyncio.wait(self._slow)

    async def _send_apart(self, commands: Sequence[Submitted]) -> None:
        """One of them cannot be sent: say so to its asker, and send the others."""
        for command in commands:
            try:
                await self._log.send([command])
            except Unavailable:
                continue
            except Exception as own:
                for question in self._awaiting(command.id):
                    question.answer.set_exception(own)

    async def take_answers(self) -> None:
        """Hand answers to who asked, for ever."""
        while True:
            for answer in await self._replies.receive():
                for question in self._awaiting(answer.command_id):
                    question.answer.set_result(answer)

    def _awaiting(self, id_: UUID) -> Iterator[_Question]:
        return (one for one in self._questions.get(id_, ()) if not one.answer.done())

    async def ask_again(self) -> None:
        """Send again what has no answer yet, or give it up, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            now = asyncio.get_running_loop().time()
            for question in [
                one for alike in self._questions.values() for one in alike if one.due <= now
            ]:
                if question.answer.done():
                    continue
                if question.deadline <= now:
                    question.answer.set_exception(_no_answer(question.command))
                    continue
                question.wait *= 2
                question.due = min(now + question.wait, question.deadline)
                self._send(question)


def _no_answer(command: Submitted) -> NoAnswer:
    return NoAnswer(f"{command.command.topic} {command.id}: {NoAnswer.__doc__}")


@asynccontextmanager
async def asking(log: Log) -> AsyncIterator[Asker]:
    """An asker, as long as the context lasts."""
    async with log.replies() as replies:
        asker = Asker(log, replies)
        tasks = [
            asyncio.create_task(forever)
            for forever in (asker.send_outbox(), asker.take_answers(), asker.ask_again())
        ]
        try:
            yield asker
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await asker.close()
