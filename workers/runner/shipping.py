"""Shipping: the output of an attempt on its way to the service, as its log.

Secrets are masked first. What waits is bounded, so a task that says much waits for the network; and
what is said in all is bounded too: of a log that grows too long the beginning and the end are kept,
with a line between them that says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from adapters.client.errors import Unanswered
from workers.runner.masking import Masking

WAITING: Final = 1024 * 1024
"""Bytes that wait to be sent, or are being sent, at most."""

TOGETHER: Final = 256 * 1024
"""Bytes that are sent without waiting for more."""

SOON: Final = 0.5
"""Seconds after which what there is is sent, however little."""

PIECE: Final = 64 * 1024
"""Bytes that are masked at once."""

END: Final = 64 * 1024
"""Bytes of the end that are kept of a log that is too long."""

LONGEST: Final = 5.0
"""Seconds between two tries, at most."""

Append = Callable[[int, bytes, bool], Awaitable[object]]
"""Appends bytes to the log at an offset, which may have been tried before; True with the last."""

log = structlog.get_logger()


class Shipper:
    """Takes what an attempt says, and ships it by *append* until it is closed.

    Where nobody answers it tries again, without an end: it is stopped by the end of the attempt.
    Once it is refused there is no log any more, `failed` says why, and what is written is dropped:
    the attempt itself goes on.
    """

    def __init__(self, append: Append, secrets: Iterable[str], limit: int) -> None:
        self.failed: Exception | None = None
        self._append = append
        self._masking = Masking(secrets)
        self._limit = limit
        self._taken = 0
        """Bytes within the limit that were taken."""
        self._lost = 0
        """Bytes that are not kept."""
        self._end = bytearray()
        self._waiting = bytearray()
        self._sent = 0
        self._closing = False
        self._moved = asyncio.Condition()
        self._sending: asyncio.Task[None] | None = None

    async def write(self, data: bytes) -> None:
        """Take some output; waits while too much is on its way."""
        for at in range(0, len(data), PIECE):
            await self._take(self._masking.feed(data[at : at + PIECE]))

    async def close(self) -> int:
        """Ship the rest, and end the log; how long it is. Raises what it was refused with."""
        await self._take(self._masking.end())
        if self._lost:
            mark = f"[turnstile: {self._lost} bytes are not kept; this is the end]\n"
            await self._put(mark.encode())
        await self._put(bytes(self._end))
        async with self._moved:
            self._closing = True
            self._moved.notify_all()
        await self._task()
        if self.failed is not None:
            raise self.failed
        return self._sent

    async def abandon(self) -> None:
        """Ship nothing any more."""
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending

    async def _take(self, data: bytes) -> None:
        """Within the limit it is sent; beyond, the end is kept aside."""
        room = self._limit - self._taken
        within, beyond = data[:room], data[room:]
        self._taken += len(within)
        await self._put(within)
        if not beyond:
            return
        self._end += beyond
        lost = len(self._end) - END
        if lost > 0:
            if not self._lost:
                said = f"the log is longer than {size(self._limit)}; what follows is not kept"
                await self._put(f"\n[turnstile: {said}]\n".encode())
            self._lost += lost
            del self._end[:lost]

    async def _put(self, data: bytes) -> None:
        self._task()
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            async with self._moved:
                await self._moved.wait_for(
                    lambda: self.failed or len(self._waiting) + len(piece) <= WAITING  # noqa: B023 # it is awaited here
                )
                if self.failed is None:
                    self._waiting += piece
                    self._moved.notify_all()

    def _task(self) -> "asyncio.Task[None]":
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return self._sending

    async def _send(self) -> None:
        try:
            while True:
                async with self._moved:
                    await self._moved.wait_for(lambda: self._waiting or self._closing)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SOON):
                            await self._moved.wait_for(
                                lambda: len(self._waiting) >= TOGETHER or self._closing
                            )
                    data, last = bytes(self._waiting), self._closing
                await self._try(data, last=last)
                async with self._moved:
                    del self._waiting[: len(data)]
                    self._sent += len(data)
                    self._moved.notify_all()
                if last:
                    return
        except Exception as error:  # whatever it is, the attempt goes on without its log
            log.warning("log_refused", error=str(error))
            async with self._moved:
                self.failed = error
                self._waiting.clear()
                self._moved.notify_all()

    async def _try(self, data: bytes, *, last: bool) -> None:
        wait = SOON
        while True:
            try:
                await self._append(self._sent, data, last)
            except Unanswered as error:
                log.info("log_waits", error=str(error))
                await asyncio.sleep(wait)
                wait = min(LONGEST, wait * 2)
            else:
                return


def size(count: int) -> str:
    """A number of bytes for people."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"
