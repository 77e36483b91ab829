"""The desk where runners ask for tasks, and wait until there are any.

All who wait are served in rounds: one when the views have moved, one when somebody comes, and one
each second for what has come due. A round asks once for all who can take the same tasks, so that
two hundred who wait cost no more than one. What it reserves is claimed beside the next rounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from adapters.log import LogError
from adapters.postgres.claims import Claims, Reservation
from adapters.work.granting import Granting, Request
from adapters.work.polls import Poll, Still, alone_with, avoided, deal
from adapters.work.presence import Known, present, refused
from adapters.work.words import Claimed
from domain.worker.automata import WorkerState
from domain.workflow import Requirements
from projections.workers import Worker

LOOK: Final = 1.0
"""Seconds between two rounds, at most."""

SOON: Final = 0.05
"""Seconds behind the last look at the workers after which they are looked at because of a sign."""

HEARD: Final = 5.0
"""Seconds between two notes of who has asked, and who waits: they are there, and not missed."""

PAUSE: Final = 0.02
"""Seconds between two rounds, at least: what has come meanwhile is dealt out together."""

MOST: Final = 200
"""Tasks of a project and class that a round looks at."""

SPARE: Final = 10
"""Tasks of those that may be left to other workers."""

log = structlog.get_logger()


class ClaimDesk:
    """Serves the claims that come to this process; `run` it."""

    def __init__(
        self,
        claims: Claims,
        workers: Known,
        granting: Granting,
        heard: Callable[[Mapping[str, str]], Awaitable[None]],
    ) -> None:
        """*heard* is told of workers, by name and session, that they are there."""
        self._claims = claims
        self._workers = workers
        self._granting = granting
        self._served: dict[tuple[str, str], _Served] = {}
        self._waiting: dict[bytes, dict[Poll, None]] = {}
        self._stirred = asyncio.Event()
        self._look_at = 0.0
        self._heard = heard
        self._asked: dict[str, str] = {}
        self._note_at = 0.0
        self._is_closed = False
        self._classes: dict[str, Requirements] = {}
        self._can: dict[bytes, list[str]] = {}

    async def claim(
        self,
        worker: Worker,
        request: str,
        tasks: int,
        wait: float,
        only: Sequence[str] = (),
        *,
        still: Still,
    ) -> tuple[tuple[Claimed, ...], WorkerState]:
        """At most so many tasks for a worker that is present, and its state in the end.

        They are *only* such as require something of each of these. The same request gets the same.
        If there is nothing it waits so many seconds. Whoever gives it up before its turn gets
        nothing; behind that it is claimed, to be asked for again. Nor gets it anything if it may
        not ask any more, which *still* raises.

        Raises NotRegistered, SupersededSession, NoAnswer, Unavailable.
        """
        key = worker.worker, request
        self._asked[worker.worker] = worker.session
        served = self._served.get(key)
        if served is None:
            until = asyncio.get_running_loop().time() + (0.0 if self._is_closed else wait)
            poll = Poll(worker, request, tasks, until, only, still)
            served = self._served[key] = _Served(poll, asyncio.create_task(self._serve(poll)))
            served.task.add_done_callback(lambda task: self._ended(key, task))
        served.poll.still = still
        served.askers += 1
        try:
            return await asyncio.shield(served.task)
        finally:
            served.askers -= 1
            if not served.askers and not served.task.done():
                served.poll.give(())

    def stir(self, payload: str = "") -> None:
        """Something may be there for those who wait."""
        self._stirred.set()

    def workers_moved(self, payload: str = "") -> None:
        """It may be another who may claim now."""
        self._look_at = min(self._look_at, asyncio.get_running_loop().time() + SOON)
        self._stirred.set()

    def close(self) -> None:
        """Nobody waits any more; what is being claimed is."""
        self._is_closed = True
        for served in self._served.values():
            served.poll.give(())

    async def run(self) -> None:
        """Serve, for ever."""
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._stirred.wait()
            except TimeoutError:
                pass
            self._stirred.clear()
            for polls in [list(polls) for polls in self._waiting.values()]:
                try:
                    await self._round(polls)
                except Exception as error:  # also a view that is being put in another's place
                    log.warning("claims_wait", error=repr(error))
                    self._end_those_due(polls, error)
            await self._look()
            await self._note()
            await asyncio.sleep(PAUSE)

    async def end(self) -> None:
        """Whatever is still being claimed is given up."""
        tasks = {served.task for served in self._served.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, key: tuple[str, str], task: "asyncio.Task[Any]") -> None:
        del self._served[key]
        if not task.cancelled():
            task.exception()  # of one that nobody asks for any more, too

    async def _serve(self, poll: Poll) -> tuple[tuple[Claimed, ...], WorkerState]:
        again = await self._granting.again(Request(poll.worker, poll.request))
        if again:
            return again, poll.worker.state
        while poll.worker.state is WorkerState.AVAILABLE:
            reserved = await self._turn(poll)
            if not reserved:
                break
            await self._check(poll, reserved)
            claimed = await self._granting.grant(Request(poll.worker, poll.request), reserved)
            if claimed:
                return claimed, poll.worker.state
            poll = self._anew(poll)
        return (), poll.worker.state

    async def _check(self, poll: Poll, reserved: Sequence[Reservation]) -> None:
        """Whether it may have what is reserved for it; else others may. Raises if not."""
        try:
            await poll.still()
        except Exception:
            await self._claims.release(reserved)
            raise

    def _anew(self, poll: Poll) -> Poll:
        """It got nothing for its turn, and waits for another one."""
        served = self._served[poll.worker.worker, poll.request]
        served.poll = Poll(poll.worker, poll.request, poll.tasks, poll.until, poll.only, poll.still)
        if self._is_closed or not served.askers:
            served.poll.give(())
        return served.poll

    async def _turn(self, poll: Poll) -> Sequence[Reservation]:
        """Wait for what is reserved for it; nothing if its time is over, after a round."""
        loop = asyncio.get_running_loop()
        self._waiting.setdefault(poll.kind, {})[poll] = None
        self._stirred.set()
        ending = loop.call_at(poll.until, self._stirred.set)
        try:
            return await poll.turn
        finally:
            ending.cancel()
            del self._waiting[poll.kind][poll]
            if not self._waiting[poll.kind]:
                del self._waiting[poll.kind]

    # --------------------------------------------------------------------------------- a round

    async def _round(self, polls: Sequence[Poll]) -> None:
        """Give those who can take the same tasks what there is."""
        polls = [poll for poll in polls if not poll.turn.done()]
        if not polls:
            return
        classes = await self._classes_of(polls[0])
        heads = min(sum(poll.tasks for poll in polls), MOST) + SPARE
        found = await self._claims.candidates(classes, heads) if classes else ()
        if found:
            dealt = list(deal(found, polls, await self._alone(avoided(found, polls))))
            by_request = {(poll.worker.worker, poll.request): poll for poll, _ in dealt}
            wanted = [
                Reservation(one.ticket, one.task, one.since, poll.worker.worker, poll.request)
                for poll, one in dealt
            ]
            sessions = {poll.worker.worker: poll.worker.session for poll, _ in dealt}
            got: dict[Poll, list[Reservation]] = {}
            reserved = await self._claims.reserve(wanted, sessions)
            for one in reserved:
                got.setdefault(by_request[one.worker, one.request], []).append(one)
            for poll, own in got.items():
                if not poll.give(own):
                    await self._claims.release(own)
            if len(reserved) < len(wanted):  # others were quicker, or a worker may not claim
                self.workers_moved()
        self._end_those_due(polls, None)

    def _end_those_due(self, polls: Sequence[Poll], error: Exception | None) -> None:
        now = asyncio.get_running_loop().time()
        for poll in polls:
            if poll.until <= now:
                if error is None:
                    poll.give(())
                else:
                    poll.refuse(error)

    async def _classes_of(self, poll: Poll) -> Sequence[str]:
        """The classes that the worker can serve."""
        if found := await self._claims.classes(len(self._classes)):
            self._classes, self._can = dict(found), {}
        if poll.kind not in self._can:
            self._can[poll.kind] = [
                name for name, requires in self._classes.items() if poll.can_serve(requires)
            ]
        return self._can[poll.kind]

    async def _alone(self, avoided: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
        if not avoided:
            return {}
        return alone_with(self._classes, await self._workers.online(), avoided)

    # ------------------------------------------------------------------------------- the workers

    async def _look(self) -> None:
        """Now and then: whose worker, or token, may not claim any more waits no longer.

        What is reserved no more is forgotten.
        """
        now = asyncio.get_running_loop().time()
        if now < self._look_at or not self._waiting:
            return
        self._look_at = now + LOOK
        waiting = [poll for polls in self._waiting.values() for poll in polls]
        try:
            await self._claims.sweep()
            online = {one.worker: one for one in await self._workers.online()}
            for poll in waiting:
                name, session = poll.worker.worker, poll.worker.session
                worker = online.get(name) or await self._workers.get(name)
                if refusal := refused(worker, name, session):
                    poll.refuse(refusal)
                elif worker is not None and worker.state is not WorkerState.AVAILABLE:
                    poll.worker = worker
                    poll.give(())
        except Exception as error:  # also a view that is being put in another's place
            log.warning("workers_unknown", error=repr(error))
        for poll in waiting:
            try:
                await poll.still()
            except LogError as error:
                log.warning("tokens_unknown", error=str(error))
                return
            except Exception as refusal:
                poll.refuse(refusal)

    async def _note(self) -> None:
        """Now and then: who has asked since, and who waits, is there. One that waits says no more.

        Of all together, as each for itself would cost more than everything else that waiting costs.
        """
        now = asyncio.get_running_loop().time()
        if now < self._note_at or not (self._asked or self._waiting):
            return
        self._note_at = now + HEARD
        asked, self._asked = self._asked, {}
        workers = [poll.worker for polls in self._waiting.values() for poll in polls]
        try:
            await self._heard(asked | {worker.worker: worker.session for worker in workers})
        except Exception as error:  # also a table that is being made anew
            log.warning("not_heard", error=repr(error))
            self._asked = asked | self._asked

    async def present(self, name: str, session: str) -> Worker:
        """The worker, which is there in this session. See `presence.present`."""
        return await present(self._workers, name, session)


class _Served:
    """A request that is being served, and how many ask for it."""

    def __init__(
        self, poll: Poll, task: "asyncio.Task[tuple[tuple[Claimed, ...], WorkerState]]"
    ) -> None:
        self.poll = poll
        self.task = task
        self.askers = 0
