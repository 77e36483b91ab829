"""Partitions that are served as long as they are granted, each by a task of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

ENDING = 10.0
"""Seconds that a task may take to end before it is asked to again."""


class Grants(Protocol):
    """Says which partitions are to be served."""

    async def granted(self) -> frozenset[int]:
        """Wait for a change in them, and say what they are now."""
        ...


class Serving:
    """The task that serves a partition. While it may not be cancelled it looks for `stopping`."""

    task: "asyncio.Task[None]"

    def __init__(self) -> None:
        self.stopping = False
        self.may_be_cancelled = True


Serve = Callable[[int, Serving], Coroutine[Any, Any, None]]
"""Serves a partition until it is lost. What it raises ends everything."""


async def serve(grants: Grants, serve_one: Serve, stopping: asyncio.Event) -> None:
    """Serve just what is granted, until stopped; then end all of it in order.

    A partition whose task has returned is served anew when the grants are looked at next.
    """
    servings: dict[int, Serving] = {}
    stopped = asyncio.create_task(stopping.wait())
    try:
        while True:
            look = asyncio.create_task(grants.granted())
            try:
                await asyncio.wait({look, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not look.done():
                    look.cancel()
                    await asyncio.wait({look})
            if stopping.is_set():
                return
            _reap(servings)
            await _end(servings, set(servings) - look.result())
            for partition in look.result() - set(servings):
                servings[partition] = one = Serving()
                one.task = asyncio.create_task(serve_one(partition, one))
    finally:
        stopped.cancel()
        await _end(servings, set(servings))


async def _end(servings: dict[int, Serving], partitions: set[int]) -> None:
    ending = [servings[partition] for partition in partitions]
    for one in ending:
        one.stopping = True
    while left := {one.task for one in ending if not one.task.done()}:
        for one in ending:
            if one.may_be_cancelled and not one.task.done():
                one.task.cancel()  # again and again: a library below may have lost one
        await asyncio.wait(left, timeout=ENDING)
    _reap(servings)


def _reap(servings: dict[int, Serving]) -> None:
    """Forget what serves no more; raise what no retry can mend."""
    for partition, one in list(servings.items()):
        if one.task.done():
            del servings[partition]
            if not one.task.cancelled() and (error := one.task.exception()):
                raise error
