"""What is served ends when it is granted no more, whatever is lost on the way."""

import asyncio
import contextlib

import pytest

from workers import serving
from workers.serving import Serving, serve


class Granting:
    """Grants one partition, and then none."""

    def __init__(self) -> None:
        self.looks = 0
        self.none = asyncio.Event()

    async def granted(self) -> frozenset[int]:
        self.looks += 1
        if self.looks == 1:
            return frozenset({0})
        await self.none.wait()
        return frozenset()


async def test_a_task_that_has_lost_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "ENDING", 0.01)
    grants, stopping, ended = Granting(), asyncio.Event(), asyncio.Event()

    async def stubborn(number: int, one: Serving) -> None:
        grants.none.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
            stopping.set()

    async with asyncio.timeout(10):
        await serve(grants, stubborn, stopping)
    assert ended.is_set()
