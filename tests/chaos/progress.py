"""Waiting for something as long as anything moves."""

import asyncio
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds in which something must move, on a machine that others use too."""

LOOK = 0.1


async def until(is_so: Callable[[], bool], moving: Callable[[], object]) -> None:
    """Wait until it is so. Fails when for long nothing has moved."""
    loop = asyncio.get_running_loop()
    seen, since = moving(), loop.time()
    while not is_so():
        await asyncio.sleep(LOOK)
        if (now := moving()) != seen:
            seen, since = now, loop.time()
        if loop.time() > since + PATIENCE:
            for task in asyncio.all_tasks():
                task.print_stack(limit=4)
            raise AssertionError(f"nothing moves any more at {seen}")


async def finished(work: "asyncio.Task[None]", moving: Callable[[], object]) -> None:
    """Wait until the work is done, and raise what it raised."""
    await until(work.done, moving)
    await work
