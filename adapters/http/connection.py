"""A connection of the API: a request comes whole, in good time, and with a short head.

uvicorn lets a request take as long as it likes, and its head grow as long as it likes: whoever
says a byte now and then would hold connections and memory for ever.
"""

import asyncio
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from adapters.http.problems import BASE, CONTENT_TYPE, TITLES, Problem

PATIENCE = 60.0
"""Seconds in which a request, its body too, must have come."""

PACE: Final = 1024 * 1024
"""Bytes with which a request that is not all there has that time once more: a large body may take
long, but not for ever."""

HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers, at most, behind those that came with its first."""

_REASONS: Final = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Headers Too Large"}


class Connection(HttpToolsProtocol):
    """Refuses what is too slow, too long or no HTTP with a problem, and ends."""

    _due: asyncio.TimerHandle | None = None
    _begun = 0
    _is_head = True
    _size = 0
    _came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request may take so long from now."""
        super().connection_made(transport)
        self._set_due()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._unset_due()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or several."""
        if self._due is None:
            self._set_due()
        self._came += len(data)
        begun, was_head = self._begun, self._is_head
        super().data_received(data)
        if was_head and self._is_head and begun == self._begun:
            self._size += len(data)
            if self._size > HEAD:
                self._refuse(431, "head-too-large", "The headers are too large.")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._begun += 1
        self._size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._is_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is all there; the answer may take as long as it does."""
        self._is_head = True
        self._unset_due()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """It is no HTTP."""
        self._refuse(400, "http", msg)

    def _set_due(self) -> None:
        self._came = 0
        self._due = self.loop.call_later(PATIENCE, self._late)

    def _unset_due(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self) -> None:
        self._due = None
        if self._answers and not self.cycle.more_body:
            self._set_due()  # what is incomplete is a request behind the one being answered
        elif self._begun and (self._came >= PACE or self.flow.read_paused):
            self._set_due()  # it comes, or it is we who take it slowly
        elif self._begun:
            detail = f"The request has not come within {PATIENCE:g} s."
            self._refuse(408, "too-slow", detail)
        else:
            self.transport.close()

    @property
    def _answers(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, status: int, kind: str, detail: str) -> None:
        """Say why, unless that would stand within another answer; and end."""
        if self.transport.is_closing():
            return
        if not (self._answers and self.cycle.response_started) and not self.pipeline:
            problem = Problem(f"{BASE}{kind}", TITLES[status], status, detail)
            body = msgspec.json.encode(problem)
            head = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
            line = (status, _REASONS[status], CONTENT_TYPE.encode(), len(body))
            self.transport.write(head % line + b"connection: close\r\n\r\n" + body)
        self.transport.close()
