"""The pipe that takes what the commands of an attempt say."""

import array
import asyncio
import fcntl
import os
import termios
from typing import Any

from adapters.execution.provider import CHUNK, Output


class Flow:
    """Our end of the pipe; `write` is the other one, until it is handed on and closed."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)

    async def pass_on(self, output: Output, ended: "asyncio.Future[Any]") -> None:
        """Hand on what comes until *ended*, and what had been said by then.

        Not until the pipe is closed: what lives on in the background has it open too.
        """
        while not ended.done():
            if data := self._next(CHUNK):
                await output(data)
                await asyncio.sleep(0)  # who says more and more does not keep the end from us
            else:
                await self._more(ended)
        rest = self._waiting()
        while rest > 0 and (data := self._next(min(rest, CHUNK))):
            rest -= len(data)
            await output(data)

    def rest(self) -> bytes:
        """What is in it now, to be said of a keeper that did not come to keep."""
        return self._next(CHUNK)

    def handed_on(self) -> None:
        """Close the other end here, as somebody else has it now."""
        os.close(self.write)

    def close(self) -> None:
        """Take no more: who says more is told by a signal."""
        os.close(self._read)

    def _next(self, size: int) -> bytes:
        try:
            return os.read(self._read, size)
        except BlockingIOError:
            return b""

    def _waiting(self) -> int:
        """Bytes that are in it."""
        count = array.array("i", [0])
        fcntl.ioctl(self._read, termios.FIONREAD, count)
        return count[0]

    async def _more(self, ended: "asyncio.Future[Any]") -> None:
        """Wait until there is something to read, or all has ended."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def told() -> None:
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(self._read, told)
        try:
            await asyncio.wait({readable, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(self._read)
