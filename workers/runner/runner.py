"""A runner: registered under a name, it claims tasks, keeps their leases, and has them run.

    registered ─► claims, as many as it has slots ─► attempts ─► reports
                  beats: the leases of all attempts in one request; what was lost ends at once

The service may be away for any time: attempts go on, reports wait, leases last as long.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final
from uuid import UUID, uuid4

import structlog

from adapters.client import (
    Beat,
    Claimed,
    Execution,
    Registered,
    Reported,
    Returned,
    Started,
    WorkerClient,
    WorkerState,
    errors,
)
from workers.runner.delivery import Delivery, is_away
from workers.runner.fitting import shortened

log = structlog.get_logger()

WAIT: Final = 20.0
"""Seconds that a claim waits for tasks; so often an idle runner is heard of."""

AGAIN: Final = 1.0
"""Seconds between tries while the service is away; a little more each time."""

LONGEST: Final = 5.0
"""Seconds between two of them, at most."""

LAST: Final = 10.0
"""Seconds that a runner without time has to tell what is kept on disk anyway."""

PREDECESSOR: Final = 60.0
"""Seconds to wait for the end of another runner of this name: the service misses one sooner."""

UNKNOWN: Final = 10.0
"""Seconds after which an attempt that is ours, and that we have never heard of, is handed back: the
answer to its claim has had its time."""

BEATS: Final = 3
"""Beats in the length of a lease, at least: one may be lost, and one late."""

MOST: Final = 1_000
"""Leases that are kept by one beat."""

IDLE: Final = 30.0
"""Seconds between two beats while there is nothing to keep: a worker that is silent is missed."""

_DRAINS: Final = "the runner drains"
_ENDS: Final = "the runner ends"
_UNHEARD: Final = "the runner has never heard of it"

_REGISTER: Final = frozenset({"not-registered", "unknown-worker"})
"""The kinds of refusal after which one registers again."""


class Superseded(Exception):
    """A newer runner of this home has taken over the worker {worker!r}."""

    def __init__(self, worker: str) -> None:
        super().__init__(str(self.__doc__).format(worker=worker))


Execute = Callable[[Claimed, Callable[[], None]], Awaitable[Reported]]
"""Runs an attempt, says when the task's own code starts, and returns what is to be told of it.

When it is cancelled the attempt ends at once, and nothing of it is left.
"""


class _Attempt:
    """One that is under way: until it ends, is lost, or is handed back."""

    def __init__(self, claimed: Claimed, task: "asyncio.Task[None]") -> None:
        self.claimed = claimed
        self.task = task
        self.lost: str | None = None


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
        limit: float = 600.0,
    ) -> None:
        """*limit*: seconds for which attempts may go on when it is stopped."""
        self._worker = worker
        self._desk = desk
        self._delivery = delivery
        self._execute = execute
        self._home = home
        self._capabilities = dict(capabilities)
        self._slots = slots
        self._once = once
        self._wait = wait
        self._limit = limit
        self._attempts: dict[tuple[str, int], _Attempt] = {}
        self._leases: dict[tuple[str, int], float] = {}
        """The lengths of the leases that are ours to keep."""
        self._unknown: dict[tuple[str, int], float] = {}
        """Attempts that we have never heard of, and since when they are ours."""
        self._beat = 5.0
        self._stopping = asyncio.Event()
        self._handing_back = asyncio.Event()
        """There is no more time, or no more patience."""
        self._begun_one = asyncio.Event()
        self._ended = asyncio.Event()

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
        beating = asyncio.create_task(self._keep_beating())
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
            await self._leave()
        except errors.Conflict as error:
            if error.problem.kind == "superseded-session":
                raise Superseded(self._worker) from error
            raise
        finally:
            for one in background:
                one.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await asyncio.gather(*(self._drop(each, _ENDS) for each in self._under_way()))

    async def _begun(self) -> bool:
        """Whether we are registered; not if we were stopped before that."""
        registering = asyncio.create_task(self._register())
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

    def _under_way(self) -> list[_Attempt]:
        return list(self._attempts.values())

    # ---------------------------------------------------------------------------- the service

    async def _register(self) -> None:
        registered = await self._registered()
        self._beat = registered.beat
        log.info(
            "registered",
            worker=self._worker,
            slots=self._slots,
            capabilities=self._capabilities,
            version=registered.version,
        )

    async def _registered(self) -> Registered:
        """Be this worker; wait for the end of another one of this name, but not for ever."""
        till, pause = monotonic() + PREDECESSOR, AGAIN
        while True:
            try:
                return await self._desk.register(self._home, self._capabilities, self._slots)
            except errors.Conflict as error:
                if error.problem.kind != "name-taken" or monotonic() > till:
                    raise
                log.warning("name_taken", worker=self._worker, reason=error.problem.detail)
            except errors.TurnstileError as error:
                if not is_away(error):
                    raise
                log.warning("service_away", reason=str(error))
                till = monotonic() + PREDECESSOR
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def _leave(self) -> None:
        try:
            await self._desk.leave()
        except errors.TurnstileError as error:
            log.warning("not_left", reason=str(error))

    # ------------------------------------------------------------------------------- the work

    async def _work(self) -> None:
        """Claim and begin attempts until stopped, then see them end."""
        while not self._stopping.is_set():
            free = self._slots - len(self._attempts)
            if free < 1:
                await self._something_ends()
                continue
            for claimed in await self._claimed(free):
                self._begin(claimed)
            if self._once:
                break
        while self._attempts:
            await self._something_ends()

    async def _something_ends(self) -> None:
        """Wait until an attempt ends, or we are stopped while we had more to do."""
        stopped = asyncio.create_task(self._stopping.wait())
        self._ended.clear()
        ended = asyncio.create_task(self._ended.wait())
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
            stopped.cancel()
        for claimed in await self._claims(tasks, 0.0, request):  # what it may have been given
            self._hand_back(claimed.ticket, claimed.task, claimed.token, _DRAINS)
        return ()

    async def _claims(self, tasks: int, wait: float, request: UUID) -> Sequence[Claimed]:
        tries = 0
        while True:
            try:
                claims = await self._desk.claim(tasks, wait=wait, request=request)
                if claims.state == WorkerState.DRAINING and not claims.tasks:
                    await asyncio.sleep(self._beat)  # somebody has it drain: it is told at once
                return claims.tasks
            except errors.TurnstileError as error:
                if _is_unknown(error):
                    await self._register()
                elif is_away(error):
                    log.warning("service_away", reason=str(error))
                else:
                    raise
            if self._stopping.is_set() and not self._attempts and tries:
                return ()
            tries += 1
            await asyncio.sleep(min(AGAIN * tries, LONGEST))

    def _begin(self, claimed: Claimed) -> None:
        """Run it, unless it runs already: the same order twice is one."""
        key = claimed.ticket, claimed.token
        if key in self._attempts:
            return
        running = asyncio.create_task(self._run(claimed))
        self._attempts[key] = _Attempt(claimed, running)
        self._leases[key] = claimed.lease
        self._begun_one.set()

    async def _run(self, claimed: Claimed) -> None:
        ticket, task, token = claimed.ticket, claimed.task, claimed.token
        told = log.bind(ticket=ticket, task=task, token=token, attempt=claimed.attempt)
        told.info("attempt_begins")
        began = monotonic()

        def started() -> None:
            self._delivery.tell(Started(ticket=ticket, task=task, token=token))

        try:
            report = await self._execute(claimed, started)
            await self._delivery.report(report, claimed.credential)
            told.info(
                "attempt_ended",
                execution=report.execution,
                outcome=report.outcome,
                reason=report.reason,
                seconds=round(monotonic() - began, 3),
            )
        except Exception as error:  # a mistake of ours: others may do better
            told.critical("attempt_failed", exc_info=error)
            reason = shortened(f"the runner failed: {error!r}")
            failed = Reported(
                ticket=ticket,
                task=task,
                token=token,
                execution=Execution.INFRASTRUCTURE,
                reason=reason,
            )
            await self._delivery.report(failed, claimed.credential)
        except asyncio.CancelledError:
            attempt = self._attempts[claimed.ticket, claimed.token]
            told.warning("attempt_dropped", reason=attempt.lost or "cancelled")
        finally:
            self._attempts.pop((claimed.ticket, claimed.token), None)
            self._ended.set()

    def _hand_back(self, ticket: str, task: str, token: int, reason: str) -> None:
        self._delivery.tell(Returned(ticket=ticket, task=task, token=token, reason=reason))

    async def _end_in_time(self) -> None:
        """When there is no more time, or no more patience, give back what is under way."""
        await self._stopping.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limit):
                await self._handing_back.wait()
        self._handing_back.set()
        for attempt in self._under_way():
            claimed = attempt.claimed
            await self._drop(attempt, _DRAINS)
            self._hand_back(claimed.ticket, claimed.task, claimed.token, _DRAINS)

    async def _last_words(self) -> None:
        """Whoever has no more time does not wait for a service that is away."""
        await self._handing_back.wait()
        await asyncio.sleep(LAST)

    # ----------------------------------------------------------------------------- the leases

    async def _keep_beating(self) -> None:
        """Keep the leases of what is under way, and drop what was lost."""
        while True:
            pace = await self._next_beat()
            try:
                beat = await self._desk.beat(list(self._kept())[:MOST], longest=pace)
            except errors.TurnstileError as error:
                if _is_unknown(error):
                    await self._register()
                elif is_away(error):
                    log.warning("service_away", reason=str(error))
                else:
                    raise
                continue
            await self._obey(beat)

    async def _next_beat(self) -> float:
        """Wait until it is time for a beat; in how many seconds the next one is due.

        A lease that is shorter than the service's own pace sets the pace.
        """
        began = monotonic()
        while (left := began + (pace := self._pace()) - monotonic()) > 0:
            self._begun_one.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._begun_one.wait()
        return pace

    def _pace(self) -> float:
        """Seconds between two beats."""
        leases = self._kept().values()
        if not leases and not self._unknown:
            return max(self._beat, IDLE)
        return min([self._beat, *(lease / BEATS for lease in leases)])

    def _kept(self) -> Mapping[tuple[str, int], float]:
        """The leases of what is under way, and of what has ended but could not be told yet."""
        ours = {*self._attempts, *self._delivery.untold}
        self._leases = {key: length for key, length in self._leases.items() if key in ours}
        return self._leases

    async def _obey(self, beat: Beat) -> None:
        for lost in beat.lost:
            if attempt := self._attempts.get((lost.ticket, lost.token)):
                await self._drop(attempt, lost.reason)
        now, seen = monotonic(), dict[tuple[str, int], float]()
        for held in beat.held:
            key = held.ticket, held.token
            if key in self._kept():
                continue
            seen[key] = self._unknown.get(key, now)
            if now >= seen[key] + UNKNOWN:
                seen[key] = now  # it is told again, should it come to that
                self._hand_back(held.ticket, held.task, held.token, _UNHEARD)
        self._unknown = seen

    async def _drop(self, attempt: _Attempt, reason: str) -> None:
        """End it at once: nothing is uploaded any more, and nothing reported."""
        attempt.lost = reason
        while not attempt.task.done():
            attempt.task.cancel()  # again and again: a library below may have lost one
            await asyncio.wait({attempt.task}, timeout=LONGEST)


def _is_unknown(error: errors.TurnstileError) -> bool:
    return isinstance(error, errors.Refused) and error.problem.kind in _REGISTER


async def _first(*tasks: "asyncio.Task[None]") -> None:
    """Wait until one of them ends. Raises what it has raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
