"""What a runner has under way: each attempt until it has ended, was lost, or is handed back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from time import monotonic
from typing import Final

import structlog

from adapters.client import Claimed, Execution, Reported, Returned, Started
from workers.runner.delivery import Delivery
from workers.runner.fitting import shortened

log = structlog.get_logger()

CANCELLED_AGAIN: Final = 60.0
"""Seconds after which one that is to end, and has not, is told again: longer than it takes to end
what runs and to clear away what is left, which a second cancellation would cut short."""

Key = tuple[str, int]
"""An attempt: its ticket and its token."""

Execute = Callable[[Claimed, Callable[[], None]], Awaitable[Reported]]
"""Runs an attempt, says when the task's own code starts, and returns what is to be told of it.

When it is cancelled the attempt ends at once, and nothing of it is left.
"""


class Attempt:
    """One that is under way."""

    def __init__(self, claimed: Claimed, task: "asyncio.Task[None]") -> None:
        self.claimed = claimed
        self.task = task
        self.lost: str | None = None
        """Why it was lost, if it was."""


class Attempts:
    """Those that are under way."""

    def __init__(self, execute: Execute, delivery: Delivery) -> None:
        self._execute = execute
        self._delivery = delivery
        self._attempts: dict[Key, Attempt] = {}
        self._leases: dict[Key, float] = {}
        self.one_began = asyncio.Event()
        self.one_ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._attempts)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._attempts.values()))

    def get(self, key: Key) -> Attempt | None:
        """The one of this key, if it is under way."""
        return self._attempts.get(key)

    def kept(self) -> Mapping[Key, float]:
        """The leases to keep, and how long they last, seconds.

        Those of what is under way, and of what has ended but could not be told yet.
        """
        ours = {*self._attempts, *self._delivery.untold}
        self._leases = {key: length for key, length in self._leases.items() if key in ours}
        return self._leases

    def begin(self, claimed: Claimed) -> None:
        """Run it, unless it runs already: the same order twice is one."""
        key = claimed.ticket, claimed.token
        if key in self._attempts:
            return
        running = asyncio.create_task(self._run(claimed))
        self._attempts[key] = Attempt(claimed, running)
        self._leases[key] = claimed.lease
        self.one_began.set()

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
            attempt = self._attempts[ticket, token]
            told.warning("attempt_dropped", reason=attempt.lost or "cancelled")
        finally:
            del self._attempts[ticket, token]
            self.one_ended.set()

    async def drop(self, attempt: Attempt, reason: str) -> None:
        """End it at once: nothing is uploaded any more, and nothing reported."""
        attempt.lost = reason
        while not attempt.task.done():
            attempt.task.cancel()  # again and again: a library below may have lost one
            await asyncio.wait({attempt.task}, timeout=CANCELLED_AGAIN)

    def hand_back(self, ticket: str, task: str, token: int, reason: str) -> None:
        """It is ours, and does not run here: somebody else is to have the task."""
        self._delivery.tell(Returned(ticket=ticket, task=task, token=token, reason=reason))
