"""An API that keeps its contract, on the real rules and folds and in memory.

It stands for the real one where a test is about its clients. Ask it as one asks the real one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapters.http import problems
from adapters.http.endpoint import read_body, read_query
from adapters.http.problems import Refusal
from domain.envelope import Recorded, Submitted
from domain.errors import Refused, UnknownTicket
from domain.event import Command
from domain.stream import Stream
from domain.ticket import TICKETS
from domain.ticket import commands as c
from domain.workflow import Id
from projections.history import rows as told
from projections.queries import Page, TicketFilter
from projections.tickets import Views
from tests.unit.given import CommandOf, claim, passed, start
from tests.unit.tables import Tables
from workers.api import Api
from workers.web import Web

TOKEN = "secret"
READER = "only-to-read"
VERBS: dict[str, type[Command]] = {
    "cancel": c.Cancel,
    "rerun": c.Rerun,
    "hold": c.Hold,
    "unhold": c.Unhold,
    "priority": c.ChangePriority,
    "tasks": c.AddTasks,
    "seal": c.Seal,
}


class Served(Protocol):
    """What a test of clients needs beside the API: where it is, and what its workers do."""

    address: tuple[str, int]
    token: str

    async def run(self, id_: str, *tasks: str) -> None:
        """A worker runs these tasks, and they pass."""

    async def watched(self, by: int) -> None:
        """Wait until so many streams are open."""


class Opening(c.Open, frozen=True, kw_only=True):
    """A ticket to open."""

    id: Id


class Listed(TicketFilter, frozen=True, kw_only=True):
    """Which tickets; the views here are never behind."""

    after: str | None = None


class ContractApi:
    """Tickets, and what is asked of them.

    Attributes:
        log: the events, in one partition.
    """

    def __init__(self) -> None:
        self.address = ("", 0)
        self.token = TOKEN
        self.log: list[Recorded] = []
        self._all: dict[str, Stream] = {}
        self._views, self._tables = Views(0), Tables()
        self._more = asyncio.Event()
        self._streams = 0

    def application(self) -> Starlette:
        one = "/v1/tickets/{ticket}"
        return Starlette(
            routes=[
                Route("/v1/tickets", self._open, methods=["POST"]),
                Route("/v1/tickets", self._list),
                Route(one, self._ticket),
                Route(f"{one}/tasks", self._tasks, methods=["GET"]),
                Route(f"{one}/events", self._events),
                Route(f"{one}/{{verb}}", self._steer, methods=["POST"]),
                Route("/v1/stream", self._stream),
            ],
            exception_handlers={Refusal: _refusal, Refused: _refused},
        )

    def do(self, id_: str, command: Command | CommandOf, key: UUID | None = None) -> dict[str, Any]:
        """The answer to a command, which is now decided."""
        stream = self._all.get(id_) or Stream(f"ticket/{id_}", TICKETS.initial())
        if not isinstance(command, Command):
            command = command(stream.state)
        if stream.version == 0 and not isinstance(command, c.Open):
            raise UnknownTicket(field="ticket", ticket=id_)
        now = datetime.now(UTC)
        submitted = Submitted(key or uuid4(), stream.id, command, "a test")
        events = stream.decide(TICKETS, submitted, now, now)
        for fact in stream.record(events, submitted, now, sequence=len(self.log)):
            stream.fold(TICKETS, fact)
            self._views.load(self._tables.load(self._views.unknown([fact])))
            self._views.fold(fact)
            self.log.append(fact)
        self._tables.write(self._views.changes())
        self._all[id_] = stream
        self._more.set()
        self._more = asyncio.Event()
        sequence = len(self.log)
        return {
            "ticket": id_,
            "version": stream.accepted[submitted.id.bytes],
            "partition": 0,
            "sequence": sequence,
            "after": f"0:{sequence}",
        }

    async def run(self, id_: str, *tasks: str) -> None:
        """A worker runs these tasks, and they pass."""
        for task in tasks:
            for command in (claim(task), start(task), passed(task)):
                self.do(id_, command)

    def _history(self, id_: str) -> list[Recorded]:
        """The events of a ticket."""
        return [event for event in self.log if event.originator_id == f"ticket/{id_}"]

    async def watched(self, by: int) -> None:
        """Wait until so many streams are open."""
        async with asyncio.timeout(30):
            while self._streams < by:
                await asyncio.sleep(0.01)

    # -------------------------------------------------------------------------------- endpoints

    async def _open(self, request: Request) -> Response:
        _permit(request)
        if request.headers["content-type"] == "application/x-ndjson":
            body = await request.body()
            return StreamingResponse(self._many(body), media_type="application/x-ndjson")
        opening = read_body(await request.body(), Opening)
        return _json(self._opening(opening, _key(request)), 201)

    def _opening(self, opening: Opening, key: UUID | None = None) -> dict[str, Any]:
        fields = {name: getattr(opening, name) for name in c.Open.__struct_fields__}
        return self.do(opening.id, c.Open(**fields), key)

    async def _many(self, body: bytes) -> AsyncIterator[bytes]:
        for n, line in enumerate(body.splitlines(), start=1):
            answer: dict[str, Any]
            try:
                answer = self._opening(read_body(line, Opening))
            except Refused as refused:
                answer = {"ticket": None, "problem": problems.of(refused).problem}
            yield msgspec.json.encode({"line": n, **answer}) + b"\n"

    async def _steer(self, request: Request) -> Response:
        _permit(request)
        kind = VERBS[request.path_params["verb"]]
        command = read_body(await request.body(), kind)
        return _json(self.do(request.path_params["ticket"], command, _key(request)))

    async def _list(self, request: Request) -> Response:
        query: Listed = read_query(request.query_params, Listed)
        found = [
            row
            for row in reversed(self._tables.tickets.values())
            if query.project in (None, row.project)
            and (not query.state or row.state in query.state)
        ]
        begin = int(query.cursor or 0)
        end = begin + query.limit
        return _json(Page(found[begin:end], str(end) if end < len(found) else None))

    async def _ticket(self, request: Request) -> Response:
        return _json(self._row(request))

    async def _tasks(self, request: Request) -> Response:
        ticket = self._row(request).ticket
        return _json(Page([row for row in self._tables.tasks.values() if row.ticket == ticket]))

    async def _events(self, request: Request) -> Response:
        rows = self._history(self._row(request).ticket)
        return _json(Page([_told(event, row) for event, row in zip(rows, told(rows), strict=True)]))

    def _row(self, request: Request) -> Any:
        id_ = request.path_params["ticket"]
        if id_ not in self._tables.tickets:
            raise Refusal(404, "unknown-ticket", f"There is no ticket {id_!r}.", "ticket")
        return self._tables.tickets[id_]

    async def _stream(self, request: Request) -> Response:
        last = request.headers.get("last-event-id")
        if last is not None and not last.isdecimal():
            raise Refusal(422, "invalid", "Last-Event-ID: it is none of ours.", "Last-Event-ID")
        begin = len(self.log) if last is None else int(last)
        wanted = set(request.query_params.getlist("ticket"))
        return StreamingResponse(self._telling(begin, wanted), media_type="text/event-stream")

    async def _telling(self, begin: int, wanted: Iterable[str]) -> AsyncIterator[bytes]:
        yield b"retry: 10\n\nid: %d\n\n" % begin
        self._streams += 1
        while True:
            more = self._more
            while begin < len(self.log):
                event = self.log[begin]
                begin += 1
                ticket = event.originator_id.removeprefix("ticket/")
                if not wanted or ticket in wanted:
                    change = self._change(ticket, event)
                    data = msgspec.json.encode(change)
                    yield b"id: %d\nevent: x\ndata: %s\n\n" % (begin, data)
            await more.wait()

    def _change(self, ticket: str, event: Recorded) -> dict[str, Any]:
        more = {"ticket": ticket, "partition": 0, "project": self._tables.tickets[ticket].project}
        (row,) = [
            row for row in told(self._history(ticket)) if row.version == event.originator_version
        ]
        return more | _told(event, row)


def _told(event: Recorded, row: Any) -> dict[str, Any]:
    return {
        "version": row.version,
        "type": event.event.topic,
        "time": row.time,
        "actor": row.actor,
        "what": row.what,
        "details": row.details,
        "seconds": None,
        "id": row.id,
        "command": row.command,
        "sequence": row.sequence,
        "data": event.event,
    }


def _permit(request: Request) -> None:
    shown = request.headers.get("authorization")
    if shown == f"Bearer {READER}":
        problem = problems.Problem(f"{problems.BASE}forbidden", "No", 403, "It may only read.")
    elif shown != f"Bearer {TOKEN}":
        problem = problems.Problem(f"{problems.BASE}unauthenticated", "No", 401, "Who is there?")
    else:
        return
    refusal = Refusal(404, "none", "")
    refusal.problem = problem
    raise refusal


def _key(request: Request) -> UUID | None:
    key = request.headers.get("idempotency-key")
    return None if key is None else UUID(key)


def _json(answer: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type="application/json")


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problems.response(error.problem)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problems.response(problems.of(error).problem)


@asynccontextmanager
async def contract() -> AsyncIterator[Served]:
    """An API that keeps its contract, while it serves."""
    api = ContractApi()
    async with serving(api.application()) as address:
        host, _, port = address.rpartition(":")
        api.address = host, int(port)
        yield api


@asynccontextmanager
async def serving(application: Starlette) -> AsyncIterator[str]:
    """The address of an application, `host:port`, while it is served as the real one is."""
    api = Api(Web(application), "127.0.0.1:0")
    running = asyncio.create_task(api.run())
    try:
        async with asyncio.timeout(10):
            while api.address.endswith(":0"):
                await asyncio.sleep(0.01)
        yield api.address
    finally:
        api.stop()
        await running
