"""Endpoints for dead letters: what was put aside, and what is to become of it."""

from msgspec import Struct

from adapters.dead import DeadLetters, Letter, LetterFilter, Shown
from adapters.http.endpoint import Endpoint
from domain.workflow import Line
from projections.queries import Page


class Dropping(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a letter is dropped."""

    reason: Line | None = None


class DeadLetterDesk:
    """Shows letters, and does with them what somebody asks for."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be read."""
        dead = "/v1/dead"
        return (
            Endpoint("GET", dead, "Dead letters", Page[Letter], self.page, LetterFilter),
            Endpoint("GET", f"{dead}/{{id}}", "What one holds", Shown, self.show, problems=(404,)),
        )

    async def page(self, query: LetterFilter) -> Page[Letter]:
        """Letters, newest first."""
        return await self._letters.page(query)

    async def show(self, id: str) -> Shown:
        """The letter and what it holds."""
        return await self._letters.show(id)

    async def inject(self, id: str, actor: str) -> Letter:
        """Have it sent again; the letter as it is settled."""
        return await self._letters.inject(id, actor)

    async def drop(self, id: str, body: Dropping, actor: str) -> Letter:
        """Have done with it; the letter as it is settled."""
        return await self._letters.drop(id, actor, body.reason)
