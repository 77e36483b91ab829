"""A ticket as requests: CloudEvents in structured mode, as an intake reads them."""

from collections.abc import Iterator
from hashlib import blake2b

from msgspec import Raw, Struct

from .parts import split
from .workflow import Opening, encode_body, encode_value


class Request(Struct, frozen=True, omit_defaults=True):
    """A CloudEvent that asks for something."""

    specversion: str
    source: str
    id: str
    type: str
    subject: str
    actor: str | None = None
    data: Raw = Raw()


class Requests(Struct, frozen=True):
    """What a source asks, on an actor's behalf."""

    source: str
    actor: str | None = None

    def of(self, opening: Opening) -> Iterator[Request]:
        """The requests that open a ticket, in their order. Raises Invalid."""
        head, more = split(opening)
        yield self._request(opening.id, "open", encode_body(head))
        for tasks in more:
            yield self._request(opening.id, "add_tasks", encode_value({"tasks": tasks}))
        if more and opening.sealed:
            yield self._request(opening.id, "seal", b"{}")

    def _request(self, ticket: str, verb: str, data: bytes) -> Request:
        """Its id follows from what it says: whoever says it again, later too, says the same."""
        digest = blake2b(data, digest_size=16).hexdigest()
        return Request(
            specversion="1.0",
            source=self.source,
            id=f"{verb}:{ticket}:{digest}",
            type=f"turnstile.ticket.{verb}",
            subject=f"ticket/{ticket}",
            actor=self.actor,
            data=Raw(data),
        )
