"""What one attempt brings to the fetching of its sources, and how it asks again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct, field

from adapters.sources.failures import Away, unavailable
from adapters.sources.local import Local
from adapters.sources.urls import GIT, Location, located

T = TypeVar("T")

LONGEST: Final = 20.0
"""Seconds between two tries, at most."""


class Attempt(Struct, frozen=True):
    """The directory of mirrors, a voice in the attempt's log, variables of programs, the time.

    `deadline` is an instant of the event loop's clock. The first pause lasts about `pause`
    seconds, each further one twice as long. What is on this machine is taken from anywhere, unless
    there is a rule for what is `local`. In `borrowed` is what its sources read where it is, as long
    as they are there.
    """

    mirrors: Path
    tell: Callable[[bytes], Awaitable[None]]
    environment: Mapping[str, str]
    deadline: float
    pause: float
    local: Local | None = None
    borrowed: set[Path] = field(default_factory=set)

    async def say(self, line: str) -> None:
        """A line of our own in the attempt's log."""
        await self.tell(f"{line}\n".encode(errors="replace"))

    def located(self, url: str, schemes: Collection[str] = GIT) -> Location:
        """What a URL means, if this runner may fetch from there. Raises NotFetched."""
        location = located(url, schemes)
        return location if self.local is None else self.local.admitted(location)

    async def again(self, what: str, action: Callable[[], Awaitable[T]], *, tries: int) -> T:
        """The action's answer, asked for so often at most. Raises NotFetched."""
        loop = asyncio.get_running_loop()
        pause, tried, last = self.pause, 0, ""
        while True:
            tried += 1
            limit = asyncio.timeout_at(self.deadline)
            try:
                async with limit:
                    return await action()
            except (Away, OSError) as trouble:
                if limit.expired():
                    raise unavailable(f"{what}: the time for it is over{last}") from trouble
                reason = str(trouble)
            # What waits for the same server must not come back all at once.
            wait = random.uniform(pause / 2, pause)
            if tried == tries or loop.time() + wait >= self.deadline:
                often = "once" if tried == 1 else f"{tried} times"
                raise unavailable(f"{what}: {reason} (tried {often})") from None
            await self.say(f"{what}: {reason}. Try {tried + 1} comes in {wait:.1f} s")
            await asyncio.sleep(wait)
            last, pause = f"; the last try ended so: {reason}", min(2 * pause, LONGEST)
