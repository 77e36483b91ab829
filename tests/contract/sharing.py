"""Several members at once."""

import asyncio
from collections.abc import Callable

from adapters.log import Decided, Fenced, Log, Membership, Owner


class Sharing:
    """Members that do what engines do with what they are granted, and no more."""

    def __init__(self, log: Log) -> None:
        self.takes = 0
        self._log = log
        self._held: dict[str, dict[int, Owner]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, asyncio.Event] = {}
        self._looked = asyncio.Condition()
        self._count = 0
        self._positions: dict[int, int] = {}

    async def __aenter__(self) -> "Sharing":
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in list(self._tasks):
            await self.drop(name)

    def add(self, name: str, member: Membership) -> None:
        self._held[name] = {}
        self._running[name] = asyncio.Event()
        self._running[name].set()
        self._tasks[name] = asyncio.create_task(self._share(name, member))

    def pause(self, name: str) -> None:
        self._running[name].clear()

    def resume(self, name: str) -> None:
        self._running[name].set()

    async def drop(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait({task})
        for owner in self._held.pop(name).values():
            await owner.release()

    async def _share(self, name: str, member: Membership) -> None:
        held = self._held[name]
        while True:
            await self._running[name].wait()
            granted = await member.granted()
            if not self._running[name].is_set():
                continue
            for partition in set(held) - granted:
                await held.pop(partition).release()
            for partition in granted - set(held):
                try:
                    owner = held[partition] = await member.take(partition)
                    self._positions[partition] = await owner.resume(0)
                    self.takes += 1
                except Fenced:
                    continue
            for partition, owner in list(held.items()):
                try:
                    await owner.commit(Decided(upto=self._positions[partition]))
                except Fenced:
                    await held.pop(partition).release()
            async with self._looked:
                self._count += 1
                self._looked.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self._looked:
            await self._looked.wait_for(condition)

    def shares(self) -> dict[str, frozenset[int]]:
        """Who has which partitions now."""
        return {name: frozenset(held) for name, held in self._held.items()}

    async def settled(self, *shares: int) -> None:
        await self._until(lambda: list(shares) == sorted(len(h) for h in self._held.values()))

    async def settled_on(self, name: str, share: int) -> None:
        await self._until(lambda: len(self._held[name]) == share)

    async def looks(self, count: int) -> None:
        end = self._count + count
        await self._until(lambda: self._count >= end)
