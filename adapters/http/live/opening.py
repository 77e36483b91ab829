"""The stream's parts, opened in order and closed in reverse."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from adapters.codec import Codec
from adapters.http.live.cursor import Cursors
from adapters.http.live.hub import BOUND, CATCHING_UP, Hub
from adapters.http.live.telling import Teller
from adapters.log import Genesis
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, Bell, open_pool
from adapters.postgres.views.positions import Positions
from adapters.postgres.views.telling import Telling


class Live(Struct, frozen=True):
    """What is shared by all who wait for something in this process."""

    positions: Positions
    hub: Hub
    bell: Bell


@asynccontextmanager
async def open_live(
    views: Address,
    archive: Address,
    codec: Codec,
    genesis: Sequence[Genesis],
    *,
    streams: int,
    bound: int = BOUND,
) -> AsyncIterator[Live]:
    """Follow the views of tickets at an address and the archive at another.

    At most so many *streams* are open at once, and *bound* bytes wait for each. Raises Unavailable.
    """
    async with AsyncExitStack() as stack:
        # Of their own, so that no query is ever waited for to know how far things are.
        sources = [await stack.enter_async_context(open_pool(at, 1)) for at in (views, archive)]
        asked = await stack.enter_async_context(open_pool(views, CATCHING_UP + 1))
        read = await stack.enter_async_context(open_pool(archive, CATCHING_UP + 1))
        positions = Positions(sources)
        await positions.look()
        hub = Hub(
            Teller(Archive(read, codec), Telling(asked)),
            positions,
            Cursors([one.id for one in genesis]),
            most=streams,
            bound=bound,
        )
        bell = Bell(views)
        channels = [at.channel("views") for at in (views, archive)]
        for work in (
            bell.run(asyncio.Event()),
            positions.run(bell, channels),
            hub.run(),
        ):
            stack.push_async_callback(_ended, asyncio.create_task(work))
        stack.callback(hub.close)
        yield Live(positions, hub, bell)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
