"""The intake: makes commands of what foreign producers ask for in their request topics.

It keeps nothing: what it has read and not sent is read again, by itself or by another one.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic
from typing import Final

import structlog

from adapters.kafka.request_records import Request
from adapters.kafka.requests import KafkaRequests
from adapters.log import Log, Rejected, Unavailable
from domain.errors import Refused
from workers.watchdog import Watchdog

NAME: Final = "intake"
LOOK: Final = 0.5
"""Seconds to wait for requests before looking whether it is to stop."""

FIRST: Final = 0.1
LONGEST: Final = 5.0
"""Seconds between two tries while the log is away."""

log = structlog.get_logger()


class Intake:
    """Takes requests in, until it is stopped."""

    def __init__(
        self,
        log: Log,
        opening: AbstractAsyncContextManager[KafkaRequests],
        *,
        batch: int = 2_000,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._log = log
        self._opening = opening
        self._batch = batch
        self._watchdog = watchdog or Watchdog(None)
        self._stopping = asyncio.Event()
        self._wait = FIRST

    def stop(self) -> None:
        """Finish the batch under way and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Take in until stopped. Raises WrongLog where the request topics cannot be had."""
        self._watchdog.moved(NAME)
        try:
            async with self._opening as requests:
                while not self._stopping.is_set():
                    self._watchdog.moved(NAME)
                    try:
                        batch = await requests.next(self._batch, LOOK)
                    except Unavailable as error:
                        await self._away(error)
                        continue
                    self._wait = FIRST
                    if batch and await self._sent(requests, batch):
                        self._watchdog.moved(NAME)
                        await requests.done(batch)
        finally:
            self._watchdog.forget(NAME)

    async def _sent(self, requests: KafkaRequests, batch: Sequence[Request]) -> bool:
        """Send commands and put aside what is none, however often it takes.

        False if it was to stop meanwhile: whoever is next takes the batch again.
        """
        began = monotonic()
        refused: list[Request] | None = None
        while refused is None:
            try:
                refused = await self._tried(requests, batch)
            except Unavailable as error:
                await self._away(error, requests=len(batch))
                if self._stopping.is_set():
                    return False
        for one in refused:
            log.error(
                "dead_letter",
                topic=one.raw.topic,
                partition=one.raw.partition,
                offset=one.raw.offset,
                reason=one.reason,
            )
        log.info(
            "requests_taken",
            commands=len(batch) - len(refused),
            dead=len(refused),
            topics=sorted({one.raw.topic for one in batch}),
            seconds=round(monotonic() - began, 4),
        )
        return True

    async def _tried(self, requests: KafkaRequests, batch: Sequence[Request]) -> list[Request]:
        """Send once; return what was put aside."""
        refused = await self._send([one for one in batch if one.submitted])
        refused += [one for one in batch if not one.submitted]
        await requests.put_aside(refused)
        return refused

    async def _send(self, requests: Sequence[Request]) -> list[Request]:
        """Send their commands, in order; return what the log will not have."""
        if not requests:
            return []
        try:
            await self._log.send([one.submitted for one in requests if one.submitted])
        except (Rejected, Refused) as error:
            if len(requests) == 1:
                return [requests[0].refused(str(error))]
            half = len(requests) // 2
            return await self._send(requests[:half]) + await self._send(requests[half:])
        return []

    async def _away(self, error: Unavailable, **facts: object) -> None:
        """Wait for the log to come back, longer each time."""
        log.warning("intake_waits", error=str(error), seconds=self._wait, **facts)
        self._watchdog.moved(NAME)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait):
                await self._stopping.wait()
        self._wait = min(2 * self._wait, LONGEST)
