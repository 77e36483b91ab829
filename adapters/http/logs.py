"""Endpoints of logs: appended by the attempt itself, read by whoever may read."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, structs
from starlette.responses import Response

from adapters.http.attempts import Present, at_work, no_attempt, token_of
from adapters.http.endpoint import Asked, Endpoint, Raw, Stream, Text
from adapters.http.live.hub import Hub
from adapters.http.live.response import MEDIA as EVENTS
from adapters.http.log_stream import HEADER, LogEvents, LogPart, LogsMoved, position
from adapters.http.problems import Problem, Refusal
from adapters.http.ranges import HEADERS, Downloads, Ranged
from adapters.postgres.logs import CHUNK, Logs, LogState, OutOfPlace, TooLong
from adapters.postgres.views.attempts import AttemptQueries
from domain.errors import TooLarge

MEDIA: Final = "text/plain"

ROOM: Final = 128 * 1024
"""Bytes beyond the limit: for what a runner says about the cut, and the end of the output."""

Offset = Annotated[int, Meta(ge=0, le=2**53)]


class Appending(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where in the log the bytes `start`, and whether they are the `last`."""

    start: Offset
    last: bool = False


class Following(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From where on."""

    start: Offset = 0


class Appended(Struct, frozen=True):
    """Where the log `end`s now, and how much a task may say: beyond `limit` is room for marks."""

    end: int
    limit: int


class Misplaced(Problem, frozen=True, omit_defaults=True, kw_only=True):
    """What was to be appended does not continue the log, which ends at `end`."""

    end: int | None = None


class LogLimits(Struct, frozen=True):
    """Bytes that a task may say if it does not ask for more or less, and the most it may ask."""

    usual: int
    most: int


class LogDesk:
    """Takes logs in and gives them out."""

    def __init__(
        self,
        logs: Logs,
        attempts: AttemptQueries,
        present: Present,
        hub: Hub,
        moved: LogsMoved,
        downloads: Downloads,
        limits: LogLimits,
    ) -> None:
        self._logs = logs
        self._attempts = attempts
        self._present = present
        self._hub = hub
        self._moved = moved
        self._downloads = downloads
        self._limits = limits

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Appending, reading, following."""
        one = "/v1/tickets/{ticket}/attempts/{token}/log"
        return (
            Endpoint(
                "PUT",
                one,
                "Append to the log of an attempt",
                Appended,
                self.append_log,
                Appending,
                raw=Raw(CHUNK),
                scope=None,
                for_attempts=True,
                others=((409, Misplaced),),
            ),
            Endpoint(
                "GET",
                one,
                "What an attempt has said",
                Text,
                self.log,
                headers=HEADERS,
                media=MEDIA,
                ranges=True,
                problems=(404, 416, 429),
            ),
            Endpoint(
                "GET",
                f"{one}/stream",
                "What an attempt says, as it says it",
                Stream[LogPart],
                self.log_stream,
                Following,
                headers=(HEADER,),
                media=EVENTS,
                problems=(404, 429),
            ),
            Endpoint(
                "GET",
                "/v1/tickets/{ticket}/tasks/{task}/log",
                "What the newest attempt at a task has said",
                Text,
                self.task_log,
                headers=HEADERS,
                media=MEDIA,
                ranges=True,
                problems=(404, 416, 429),
            ),
        )

    async def append_log(
        self, ticket: str, token: str, query: Appending, body: bytes, asked: Asked
    ) -> Appended | Response:
        """Append what continues the log, or is there already. Raises Refusal and TooLarge."""
        attempt = await at_work(asked, self._present)
        given = attempt.ticket, attempt.token, attempt.task, query.start, body
        # How long it may be is known of a log that is there.
        most = 0 if query.start else await self._most(attempt.ticket, attempt.task)
        try:
            state = await self._logs.append(*given, last=query.last, most=most)
        except OutOfPlace as error:
            refusal = Refusal(409, error.kind, f"{str(error).capitalize()}.", "start")
            told = structs.asdict(refusal.problem)
            refusal.problem = Misplaced(**told, end=error.end)
            raise refusal from error
        except TooLong as error:
            raise TooLarge(field="log", size=error.size, limit=error.most) from error
        return Appended(state.size, max(0, state.most - ROOM))

    async def _most(self, ticket: str, task: str) -> int:
        """How long the log of a task may be; it may say that itself, within limits."""
        asked = (await self._attempts.parameters(ticket, task)).get("log_limit")
        limit = self._limits.usual
        if isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0:
            limit = asked
        return min(limit, self._limits.most) + ROOM

    async def log(
        self,
        ticket: str,
        token: str,
        range: str | None,
        if_range: str | None,
        if_none_match: str | None,
    ) -> Response:
        """The log as far as it is, or a part of it. Raises Refusal if there is no such attempt."""
        number = token_of(ticket, token)
        state = await self._state(ticket, number)
        return self._told(ticket, number, state, range, if_range, if_none_match)

    async def task_log(
        self,
        ticket: str,
        task: str,
        range: str | None,
        if_range: str | None,
        if_none_match: str | None,
    ) -> Response:
        """The log of the newest attempt at a task. Raises Refusal if there is none."""
        attempt = await self._attempts.newest(ticket, task)
        if attempt is None:
            detail = f"There is no attempt at a task {task!r} of a ticket {ticket!r}."
            raise Refusal(404, "unknown-attempt", detail, "task")
        state = await self._state(ticket, attempt.token)
        return self._told(ticket, attempt.token, state, range, if_range, if_none_match)

    def _told(self, ticket: str, token: int, state: LogState, *asked: str | None) -> Response:
        def read(start: int, end: int) -> Any:
            return self._logs.read(ticket, token, start, end)

        range_, if_range, if_none_match = asked
        return Ranged(
            self._downloads,
            read,
            state.size,
            # Of an attempt's log there is but one that is so long.
            f'"{token}-{state.size}"',
            MEDIA,
            range_=range_,
            if_range=if_range,
            if_none_match=if_none_match,
            headers={"Cache-Control": "no-cache", "Turnstile-Token": str(token)},
        )

    async def log_stream(
        self, ticket: str, token: str, query: Following, last_event_id: str | None
    ) -> LogEvents:
        """The log from an offset on, as it grows, until it has ended."""
        number = token_of(ticket, token)
        start = position(last_event_id) if last_event_id else query.start
        await self._state(ticket, number)
        self._hub.admit()
        return LogEvents(self._hub, self._logs, self._moved, self._is_over, (ticket, number), start)

    async def _is_over(self, ticket: str, token: int) -> bool:
        return (ticket, token) in await self._attempts.over([(ticket, token)])

    async def _state(self, ticket: str, token: int) -> LogState:
        """How far a log is; one that has not begun is empty. Raises Refusal."""
        state = await self._logs.state(ticket, token)
        if state is not None:
            return state
        if await self._attempts.attempt(ticket, token) is None:
            raise no_attempt(ticket, token)
        return LogState(0, 0, 0, ended=False)
