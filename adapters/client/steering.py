"""What can be asked of tickets and workers, each time as a command with an id of its own."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from .connection import path
from .errors import Unanswered
from .parts import split
from .reading import Reading
from .rows import Accepted, Steered
from .words import Scope
from .workflow import Opening, TaskSpec, encode, encode_value


class Steering(Reading):
    """Whatever changes a ticket or steers a worker.

    Raises:
        Refused: what was asked is not done; see `turnstile.errors` for why.
        Unanswered: nobody has answered. With its `key`, the same can be asked again at any time.
    """

    async def open(self, opening: Opening, *, key: UUID | None = None) -> Accepted:
        """Open a ticket; the same again is the same ticket.

        One that is larger than a request may be is opened in parts, and begins when all are there.
        Raises Conflict for another body under the same id.
        """
        head, rest = split(opening)
        key = key or uuid4()
        accepted = await self._post(("tickets",), encode(head), key)
        try:
            for tasks in rest:
                await self.add_tasks(opening.id, tasks)
            if not rest or not opening.sealed:
                return accepted
            sealed = await self.seal(opening.id)
        except Unanswered as error:  # of a part; what is to be asked again is the whole
            raise type(error)(str(error), key) from error
        return replace(sealed, version=accepted.version)

    async def add_tasks(
        self,
        ticket: str,
        tasks: Sequence[TaskSpec],
        *,
        by_task: str | None = None,
        token: int | None = None,
        key: UUID | None = None,
    ) -> Accepted:
        """Let a ticket grow that is not sealed, or that a task of its own makes grow.

        A task that does it while it runs shows its own name and token.
        """
        body = some(tasks=tuple(tasks), by_task=by_task, token=token)
        return await self._post(("tickets", ticket, "tasks"), encode_value(body), key)

    async def seal(self, ticket: str, *, key: UUID | None = None) -> Accepted:
        """Say that the workflow is complete."""
        return await self._post(("tickets", ticket, "seal"), b"{}", key)

    async def cancel(
        self, ticket: str, *tasks: str, reason: str = "", key: UUID | None = None
    ) -> Accepted:
        """End these tasks; without any named, the whole ticket."""
        return await self._steer(ticket, "cancel", tasks, reason, key)

    async def rerun(
        self,
        ticket: str,
        *tasks: str,
        scope: Scope | None = None,
        reason: str = "",
        key: UUID | None = None,
    ) -> Accepted:
        """Run again the tasks named; without any, the whole ticket, or only what failed."""
        word = scope or (Scope.TASKS if tasks else Scope.TICKET)
        return await self._steer(ticket, "rerun", tasks, reason, key, scope=word)

    async def hold(
        self, ticket: str, *tasks: str, reason: str = "", key: UUID | None = None
    ) -> Accepted:
        """Close a gate before these tasks; without any named, before all that wait."""
        return await self._steer(ticket, "hold", tasks, reason, key)

    async def unhold(
        self, ticket: str, *tasks: str, reason: str = "", key: UUID | None = None
    ) -> Accepted:
        """Open the gate before these tasks; without any named, before all that are held."""
        return await self._steer(ticket, "unhold", tasks, reason, key)

    async def revoke(
        self, ticket: str, token: int, *, reason: str = "", key: UUID | None = None
    ) -> Accepted:
        """Take a task from its worker: the attempt of this token ends, and another may begin."""
        body = encode_value(some(reason=reason or None))
        return await self._post(("tickets", ticket, "attempts", str(token), "revoke"), body, key)

    async def prioritise(
        self, ticket: str, priority: int, *, reason: str = "", key: UUID | None = None
    ) -> Accepted:
        """Move the ticket in the queue: higher is sooner."""
        return await self._steer(ticket, "priority", (), reason, key, priority=priority)

    async def drain(self, worker: str, *, reason: str = "", key: UUID | None = None) -> Steered:
        """Let a worker finish what it has, and claim nothing more."""
        return await self._steer_worker(worker, "drain", reason, key)

    async def resume(self, worker: str, *, reason: str = "", key: UUID | None = None) -> Steered:
        """Let a worker claim again."""
        return await self._steer_worker(worker, "resume", reason, key)

    async def _steer_worker(self, worker: str, verb: str, reason: str, key: UUID | None) -> Steered:
        body = encode_value(some(reason=reason or None))
        to = path("workers", worker, verb)
        return await self.connection.ask("POST", to, Steered, body=body, key=key or uuid4())

    async def _steer(
        self,
        ticket: str,
        verb: str,
        tasks: Sequence[str],
        reason: str,
        key: UUID | None,
        **more: object,
    ) -> Accepted:
        body = some(tasks=tasks or None, reason=reason or None, **more)
        return await self._post(("tickets", ticket, verb), encode_value(body), key)

    async def _post(self, to: Sequence[str], body: bytes, key: UUID | None = None) -> Accepted:
        return await self.connection.ask("POST", path(*to), Accepted, body=body, key=key or uuid4())


def some(**fields: object) -> dict[str, Any]:
    """The fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}
