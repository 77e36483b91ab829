"""The endpoint of the live stream."""

from msgspec import Struct

from adapters.http.endpoint import Endpoint, Stream
from adapters.http.live.change import TYPES, Change, Wanted
from adapters.http.live.cursor import HEADER, Vector
from adapters.http.live.hub import Hub
from adapters.http.live.response import MEDIA, StreamResponse
from adapters.log import Log
from adapters.postgres.views.positions import Positions
from domain.errors import Invalid
from domain.workflow import Id, Line


class Streamed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which changes: of one of these tickets, projects and types, where any are named."""

    ticket: tuple[Id, ...] = ()
    project: tuple[Line, ...] = ()
    type: tuple[Line, ...] = ()


class Streaming:
    """Answers with the stream."""

    def __init__(self, hub: Hub, positions: Positions, log: Log) -> None:
        self._hub = hub
        self._positions = positions
        self._log = log

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The stream."""
        return (
            Endpoint(
                "GET",
                "/v1/stream",
                "What happens to tickets, as it happens",
                Stream[Change],
                self.stream,
                Streamed,
                headers=(HEADER,),
                media=MEDIA,
                problems=(429,),
            ),
        )

    async def stream(self, query: Streamed, last_event_id: str | None) -> StreamResponse:
        """Every change behind the cursor once, and in order per ticket; from now on without one."""
        for n, type_ in enumerate(query.type):
            if type_ not in TYPES:
                raise Invalid(field=f"type[{n}]", reason="there is no such type of event")
        wanted = Wanted(
            frozenset(query.ticket),
            frozenset(query.project),
            frozenset(query.type),
        )
        if last_event_id:
            vector = self._hub.cursors.read(last_event_id)
            await self._check(vector)
        else:
            vector = self._hub.now()
        self._hub.admit()
        return StreamResponse(self._hub, wanted, vector)

    async def _check(self, vector: Vector) -> None:
        """Whether the log has come as far. The views need not: their rows are waited for."""
        if self._are_seen(vector):
            return
        await self._positions.look()
        if self._are_seen(vector):
            return
        for partition, sequence in enumerate(vector.positions):
            if sequence > await self._log.end(partition):
                raise Invalid(field=HEADER, reason="the log has not come as far: was it restored?")

    def _are_seen(self, vector: Vector) -> bool:
        seen = self._positions.seen
        return all(n <= m for n, m in zip(vector.positions, seen, strict=True))
