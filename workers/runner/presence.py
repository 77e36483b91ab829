"""The worker that a runner is, as the service knows it."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Final

import structlog

from adapters.client import Registered, WorkerClient, errors
from workers.runner.delivery import is_away

log = structlog.get_logger()

AGAIN: Final = 1.0
"""Seconds between tries while the service is away; a little more each time."""

LONGEST: Final = 5.0
"""Seconds between two of them, at most."""

PREDECESSOR: Final = 60.0
"""Seconds to wait for the end of another runner of this name: the service misses one sooner."""

_REGISTER: Final = frozenset({"not-registered", "unknown-worker"})
"""The kinds of refusal after which one registers again."""


class Presence:
    """Registers a name for the runner with this *home*, and gives it back."""

    def __init__(
        self,
        worker: str,
        desk: WorkerClient,
        *,
        home: str,
        capabilities: Mapping[str, tuple[str, ...]],
        slots: int,
    ) -> None:
        self.worker = worker
        self.pace = 5.0
        """Seconds between two beats, if the service has its way."""
        self._desk = desk
        self._home = home
        self._capabilities = dict(capabilities)
        self._slots = slots

    async def register(self) -> None:
        """Be this worker. Raises Refused if that may not be."""
        registered = await self._registered()
        self.pace = registered.beat
        log.info(
            "registered",
            worker=self.worker,
            slots=self._slots,
            capabilities=self._capabilities,
            version=registered.version,
        )

    async def _registered(self) -> Registered:
        """Wait for the end of another one of this name, but not for ever."""
        till, pause = monotonic() + PREDECESSOR, AGAIN
        while True:
            try:
                return await self._desk.register(self._home, self._capabilities, self._slots)
            except errors.Conflict as error:
                if error.problem.kind != "name-taken" or monotonic() > till:
                    raise
                log.warning("name_taken", worker=self.worker, reason=error.problem.detail)
            except errors.TurnstileError as error:
                if not is_away(error):
                    raise
                log.warning("service_away", reason=str(error))
                till = monotonic() + PREDECESSOR
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def bear(self, error: errors.TurnstileError) -> None:
        """Do what such an answer wants: register, or wait. Raises it if nothing helps."""
        if isinstance(error, errors.Refused) and error.problem.kind in _REGISTER:
            await self.register()
        elif is_away(error):
            log.warning("service_away", reason=str(error))
        else:
            raise error

    async def leave(self) -> None:
        """Give the name back, if the service hears it."""
        try:
            await self._desk.leave()
        except errors.TurnstileError as error:
            log.warning("not_left", reason=str(error))
