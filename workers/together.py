"""All roles in one process, for a service on one machine."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from workers.compose import Service
from workers.watchdog import Watchdog


class Role(Protocol):
    """What a process does until it is stopped."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


class Together:
    """Runs roles until stopped; when one of them fails, the others end in order too."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._roles = roles

    def stop(self) -> None:
        """Have every one end in order."""
        for role in self._roles:
            role.stop()

    async def run(self) -> None:
        """Run them all. Raises what the first of them has raised."""
        running = [asyncio.create_task(role.run()) for role in self._roles]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stop()
            await asyncio.wait(running)
        for one in running:
            one.result()


def together(
    service: Service, watchdog: Watchdog, tell: Callable[[str], None] = lambda address: None
) -> Together:
    """Every role that this service needs; *tell* hears where its API listens."""
    roles: list[Role] = [
        service.api(watchdog, tell),
        service.engine(watchdog),
        service.projector(watchdog),
        service.reactor(watchdog),
        service.reaper(watchdog),
    ]
    if service.config.kafka is not None and service.config.intake:
        roles.append(service.intake(watchdog))
    return Together(roles)
