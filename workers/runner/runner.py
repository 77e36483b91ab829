"""A runner: registered under a name, it claims tasks, keeps their leases, and has them run.

    presence ─► claims, as many as it has slots ─► attempts ─► delivery of reports
                beating: the leases of all attempts in one request; what was lost ends at once

The service may be away for any time: attempts go on, reports wait, leases last as long.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID, uuid4

import structlog

from adapters.client import Claimed, WorkerClient, WorkerState, errors
from workers.runner.attempts import Attempts, Execute
from workers.runner.beating import Beating
from workers.runner.delivery import Delivery
from workers.runner.presence import AGAIN, LONGEST, Presence

log = structlog.get_logger()

WAIT: Final = 20.0
"""Seconds that a claim waits for tasks; so often an idle runner is heard of."""

LAST: Final = 10.0
"""Seconds that a runner without time has to tell what is kept on disk anyway."""

_DRAINS: Final = "the runner drains"
_ENDS: Final = "the runner ends"


class Superseded(Exception):
    """A newer runner of this home has taken over the worker {worker!r}."""

    def __init__(self, worker: str) -> None:
        super().__init__(str(self.__doc__).format(worker=worker))


class Runner:
    """Works until it is stopped, or `once`: as much as one claim gives."""

    def __init__(
        self,
        worker: str,
        desk: WorkerClient,
        delivery: Delivery,
        execute: Execute,
        *,
        home: str,
        capabilities: Mapping[str, tuple[str, ...]],
        slots: int = 1,
        once: bool = False,
        wait: float = WAIT,
        only: Sequence[str] = (),
        limit: float = 600.0,
    ) -> None:
        """*limit*: seconds for which attempts may go on when it is stopped."""
        self._worker = worker
        self._desk = desk
        self._delivery = delivery
        self._presence = Presence(worker, desk, home=home, capabilities=capabilities, slots=slots)
        self._attempts = Attempts(execute, delivery)
        self._beating = Beating(desk, self._presence, self._attempts)
        self._slots = slots
        self._once = once
        self._wait = wait
        self._only = tuple(only)
        self._limit = limit
        self._stopping = asyncio.Event()
        self._handing_back = asyncio.Event()
        """There is no more time, or no more patience."""

    def stop(self) -> None:
        """Take no more, finish what is under way, and return from `run`; again: hand it back."""
        if self._stopping.is_set():
            self._handing_back.set()
        self._stopping.set()
        log.info("runner_drains", attempts=len(self._attempts), at_once=self._handing_back.is_set())

    async def run(self) -> None:
        """Work until stopped.

        Raises Superseded, and Refused if it may not be this worker.
        """
        if not await self._begun():
            return
        delivering = asyncio.create_task(self._delivery.run())
        beating = asyncio.create_task(self._beating.run())
        working = asyncio.create_task(self._work())
        ending = asyncio.create_task(self._end_in_time())
        background = [working, beating, delivering, ending]
        try:
            await _first(delivering, beating, working)
            self._delivery.close()  # the work is done
            last = asyncio.create_task(self._last_words())
            background.append(last)
            await _first(delivering, beating, last)
            if not delivering.done():
                log.warning("reports_left", reason="the service is away; they are kept on disk")
            await self._presence.leave()
        except errors.Conflict as error:
            if error.problem.kind == "superseded-session":
                raise Superseded(self._worker) from error
            raise
        finally:
            for one in background:
                one.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(*(self._attempts.drop(one, _ENDS) for one in self._attempts))

    async def _begun(self) -> bool:
        """Whether we are registered; not if we were stopped before that."""
        registering = asyncio.create_task(self._presence.register())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({registering, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not registering.done():
                return False
            registering.result()
            return True
        finally:
            registering.cancel()
            stopped.cancel()

    # ------------------------------------------------------------------------------- the work

    async def _work(self) -> None:
        """Claim and begin attempts until stopped, then see them end."""
        while not self._stopping.is_set():
            free = self._slots - len(self._attempts)
            if free < 1:
                await self._something_ends()
                continue
            for claimed in await self._claimed(free):
                self._attempts.begin(claimed)
            if self._once:
                break
        while self._attempts:
            await self._something_ends()

    async def _something_ends(self) -> None:
        """Wait until an attempt ends, or we are stopped while we had more to do."""
        stopped = asyncio.create_task(self._stopping.wait())
        self._attempts.one_ended.clear()
        ended = asyncio.create_task(self._attempts.one_ended.wait())
        waiting = {ended} if self._stopping.is_set() else {ended, stopped}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        ended.cancel()

    async def _claimed(self, tasks: int) -> Sequence[Claimed]:
        """What there is for us, when there is something; the same request until it is answered."""
        request = uuid4()
        asking = asyncio.create_task(self._claims(tasks, self._wait, request))
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({asking, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        finally:
            asking.cancel()
            stopped.cancel()
        for claimed in await self._claims(tasks, 0.0, request):  # what it may have been given
            self._attempts.hand_back(claimed.ticket, claimed.task, claimed.token, _DRAINS)
        return ()

    async def _claims(self, tasks: int, wait: float, request: UUID) -> Sequence[Claimed]:
        tries = 0
        while True:
            try:
                claims = await self._desk.claim(tasks, wait=wait, only=self._only, request=request)
            except errors.TurnstileError as error:
                await self._presence.bear(error)
            else:
                if claims.state == WorkerState.DRAINING and not claims.tasks:
                    await asyncio.sleep(self._presence.pace)  # somebody has it drain: told at once
                return claims.tasks
            if self._stopping.is_set() and not self._attempts and tries:
                return ()
            tries += 1
            await asyncio.sleep(min(AGAIN * tries, LONGEST))

    # -------------------------------------------------------------------------------- the end

    async def _end_in_time(self) -> None:
        """When there is no more time, or no more patience, give back what is under way."""
        await self._stopping.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limit):
                await self._handing_back.wait()
        self._handing_back.set()
        for attempt in self._attempts:
            claimed = attempt.claimed
            await self._attempts.drop(attempt, _DRAINS)
            self._attempts.hand_back(claimed.ticket, claimed.task, claimed.token, _DRAINS)

    async def _last_words(self) -> None:
        """Whoever has no more time does not wait for a service that is away."""
        await self._handing_back.wait()
        await asyncio.sleep(LAST)


async def _first(*tasks: "asyncio.Task[None]") -> None:
    """Wait until one of them ends. Raises what it has raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
