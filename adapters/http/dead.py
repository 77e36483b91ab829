"""Endpoints for dead letters: what was put aside, and what is to become of it."""

from functools import partial

from msgspec import Struct

from adapters.access import Scope
from adapters.dead import DeadLetters, Letter, LetterFilter, Shown
from adapters.http.endpoint import Asked, Endpoint
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
        """What can be read, and done."""
        dead, one = "/v1/dead", "/v1/dead/{id}"
        does = partial(Endpoint, "POST", returns=Letter, scope=Scope.OPERATE, problems=(404, 409))
        return (
            Endpoint(
                "GET",
                dead,
                "Dead letters, newest first",
                Page[Letter],
                self.page,
                LetterFilter,
                name="dead_letters",
            ),
            Endpoint(
                "GET",
                one,
                "What a dead letter holds, which may be anything",
                Shown,
                self.show,
                scope=Scope.OPERATE,
                name="dead_letter",
            ),
            does(
                f"{one}/inject",
                summary="Send it again to where it belongs",
                answer=self.inject,
                name="inject_dead_letter",
            ),
            does(
                f"{one}/drop",
                summary="Have done with it",
                answer=self.drop,
                body=Dropping,
                name="drop_dead_letter",
            ),
        )

    async def page(self, query: LetterFilter) -> Page[Letter]:
        """Letters, newest first."""
        return await self._letters.page(query)

    async def show(self, id: str, asked: Asked) -> Shown:
        """The letter and what it holds."""
        return await self._letters.show(id)

    async def inject(self, id: str, asked: Asked) -> Letter:
        """Have it sent again; the letter as it is settled."""
        return await self._letters.inject(id, asked.actor)

    async def drop(self, id: str, body: Dropping, asked: Asked) -> Letter:
        """Have done with it; the letter as it is settled."""
        return await self._letters.drop(id, asked.actor, body.reason)
