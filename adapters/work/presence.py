"""Whether a worker is there, and it is its present process that asks."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from domain.errors import NotRegistered, SupersededSession
from domain.worker.automata import ONLINE
from projections.workers import Worker

PATIENCE: Final = 1.0
"""Seconds for which a session that is not the worker's may be one that the view is to learn of."""

FIRST: Final = 0.01
"""Seconds before the view is looked at again; twice as many each time."""


class Known(Protocol):
    """The view of workers."""

    async def get(self, worker: str) -> Worker | None:
        """One of them. Raises Unavailable."""
        ...

    async def online(self) -> Sequence[Worker]:
        """Those that may claim. Raises Unavailable."""
        ...


async def present(known: Known, name: str, session: str) -> Worker:
    """The worker, which is there in this session.

    Who has just registered may ask before the view knows. Raises NotRegistered,
    SupersededSession, Unavailable.
    """
    pause = FIRST
    while True:
        worker = await known.get(name)
        refusal = refused(worker, name, session)
        if worker is not None and refusal is None:
            return worker
        if pause > PATIENCE / 2:
            assert refusal is not None
            raise refusal
        await asyncio.sleep(pause)
        pause *= 2


def refused(
    worker: Worker | None, name: str, session: str
) -> NotRegistered | SupersededSession | None:
    """Why this session may not work under the name, if so."""
    if worker is None or worker.state not in ONLINE:
        reason = f"it is gone ({worker.reason})" if worker is not None else "nobody knows it"
        return NotRegistered(field="worker", worker=name, reason=reason)
    if worker.session != session:
        return SupersededSession(field="session", worker=name, session=session)
    return None
