"""Rooms that are processes of this machine, as they are: nothing keeps them from its files."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.execution.errors import ProviderRefused
from adapters.execution.keeping import PROGRAM, kept
from adapters.execution.provider import GRACE, Room, Workplace


class ProcessProvider:
    """Runs commands as they are, each in a session and process group of its own."""

    name = "process"

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace

    @asynccontextmanager
    async def open(self, workplace: Workplace) -> AsyncIterator[Room]:
        """A room (see provider.Provider)."""
        if sys.platform != "linux":
            raise ProviderRefused(provider=self.name, reason="descendants are kept on Linux only")
        if not workplace.network:
            reason = "it cannot keep a task from the network; the sandbox can"
            raise ProviderRefused(provider=self.name, reason=reason)
        async with kept(self.name, PROGRAM, workplace, self._grace) as room:
            yield room
