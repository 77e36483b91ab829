"""Work on files that blocks, in a thread that ends when nobody wants it any more."""

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """The work was given up in the middle."""


class Wanted:
    """Whether somebody still waits for the work."""

    def __init__(self) -> None:
        self._is_over = Event()

    def check(self) -> None:
        """Between two steps of the work. Raises Abandoned."""
        if self._is_over.is_set():
            raise Abandoned

    def give_up(self) -> None:
        """Nobody waits."""
        self._is_over.set()


async def in_thread(work: Callable[[Wanted], T]) -> T:
    """What the work answers. Cancelled, it returns when the thread has left the files alone."""
    wanted = Wanted()
    working = asyncio.ensure_future(asyncio.to_thread(work, wanted))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        wanted.give_up()
        await asyncio.wait({working})
        if not working.cancelled():
            working.exception()  # it is nobody's any more
        raise
