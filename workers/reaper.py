"""The reaper: looks for what has lasted too long, and says so to the tickets.

It looks for stages and deadlines, and for leases that have run out, each for itself; and for
nothing while the log is away, since nobody could say meanwhile that it is not so.

It looks in the views and its clock is the database's, so it may be early or late: each ticket looks
again by the clock of its engine. As long as the views show that something is due it is sent again,
at growing intervals, since nobody waits for the answer. The same thing due is the same command,
whichever reaper sends it and however often.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing
from time import monotonic
from typing import Protocol
from uuid import UUID

import structlog
from msgspec import Struct

from adapters.log import Log, Unavailable
from domain.envelope import Submitted
from workers.watchdog import Watchdog

log = structlog.get_logger()

ROUND = 1.0
"""Seconds between two looks."""

MOST = 5_000
"""Commands that are sent in one round: whoever comes back after long does not flood the log."""

AGAIN = 4.0
"""Seconds after which what is due still is sent again; twice as many each time."""

SELDOM = 3_600.0
"""Seconds that it waits at most: an engine's clock may be behind, or a stream in quarantine."""


class Due(Protocol):
    """Says what is due."""

    def due(self) -> AsyncGenerator[Submitted, None]:
        """The commands that say so, what is due longest first. Raises Unavailable."""
        ...


class _Sent(Struct):
    """When something is to be sent again, and how long the wait was; `seen` in that round."""

    again: float
    wait: float
    seen: int


class Reaper:
    """Looks again and again for what each of *openings* opens, until it is stopped."""

    def __init__(
        self,
        log: Log,
        *openings: Callable[[], AbstractAsyncContextManager[Due]],
        interval: float = ROUND,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._log = log
        self._openings = openings
        self._interval = interval
        self._watchdog = watchdog or Watchdog(None)
        self._stopping = asyncio.Event()
        self._is_away = False

    def stop(self) -> None:
        """Finish the rounds under way, and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Look until stopped. What cannot be reached is looked at again."""
        try:
            async with asyncio.TaskGroup() as group:
                for n, opening in enumerate(self._openings):
                    group.create_task(self._look_for(f"reaper {n}", opening))
        except* Exception as failed:
            raise failed.exceptions[0] from None

    async def _look_for(
        self, name: str, opening: Callable[[], AbstractAsyncContextManager[Due]]
    ) -> None:
        stopped = asyncio.create_task(self._stopping.wait())
        sending = Sending()
        self._watchdog.moved(name)
        try:
            async with opening() as due:
                while not self._stopping.is_set():
                    try:
                        await self._look(due, sending)
                    except Unavailable as error:
                        log.warning("not_looked", reason=str(error))
                    self._watchdog.moved(name)
                    await asyncio.wait({stopped}, timeout=self._interval)
        finally:
            self._watchdog.forget(name)
            stopped.cancel()

    async def _look(self, due: Due, sending: "Sending") -> None:
        """Send what is due and was not sent just now."""
        if self._is_away:  # whatever is due meanwhile: nobody can say that it is not
            await self._log.end(0)
            self._is_away = False
        commands = await sending.turn(due)
        if commands:
            try:
                await self._log.send(commands)
            except Unavailable:
                self._is_away = True
                sending.forget(commands)
                raise
            log.info("reaped", commands=len(commands))


class Sending:
    """What was sent, and when it is to be sent again."""

    def __init__(self) -> None:
        self._sent: dict[UUID, _Sent] = {}
        self._round = 0

    async def turn(self, due: Due) -> list[Submitted]:
        """What is due and was not sent just now; what is due no more is forgotten."""
        self._round += 1
        now = monotonic()
        commands: list[Submitted] = []
        async with aclosing(due.due()) as found:
            async for command in found:
                if self._is_its_turn(command.id, now):
                    commands.append(command)
                    if len(commands) == MOST:
                        break
            else:
                self._sent = {id_: s for id_, s in self._sent.items() if s.seen == self._round}
        return commands

    def forget(self, commands: Iterable[Submitted]) -> None:
        """It was not their turn yet."""
        for command in commands:
            del self._sent[command.id]

    def _is_its_turn(self, id_: UUID, now: float) -> bool:
        sent = self._sent.get(id_)
        if sent is None:
            self._sent[id_] = _Sent(now + AGAIN, AGAIN, self._round)
            return True
        sent.seen = self._round
        if now < sent.again:
            return False
        sent.wait = min(2 * sent.wait, SELDOM)
        sent.again = now + sent.wait
        return True
