"""The API: a server of the HTTP application, until it is stopped."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from adapters.http.connection import Connection
from workers.hearing import hear
from workers.watchdog import Watchdog
from workers.web import Web

log = structlog.get_logger()

STALLED = 60_000
"""Milliseconds after which a connection that takes nothing is over."""

KEPT = 30
"""Seconds for which a connection is kept for another request. Clients let it go sooner: where both
do at the same time, a request is lost on the way."""

GRACE = 5
"""Seconds that requests under way may take when it is stopped."""


class Api:
    """Serves at `host:port`; when it is stopped, requests under way have *grace* seconds.

    Where it listens it says to the log, and to *tell*.
    """

    def __init__(
        self,
        web: Web,
        at: str,
        watchdog: Watchdog | None = None,
        *,
        grace: int = GRACE,
        tell: Callable[[str], None] = lambda address: None,
    ) -> None:
        self.address = at
        """Where it listens; with port 0 it is known only when it does."""
        self.listens = False
        self._web = web
        self._grace = grace
        self._tell = tell
        self._watchdog = watchdog or Watchdog(None)
        self._server: uvicorn.Server | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take no more requests, finish those under way, and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped. Raises OSError if the address is not to be had."""
        host, _, port = self.address.rpartition(":")
        listener = socket.create_server((host, int(port)), backlog=1024)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: who takes nothing is not kept for ever
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED)
        # What asyncio's own loop would do, if it had made the socket: else an answer waits 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = f"{host}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            self._web.application,
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=KEPT,
            timeout_graceful_shutdown=self._grace,
            server_header=False,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        self.listens = True
        log.info("api_listens", address=self.address)
        self._tell(self.address)
        stopped = asyncio.create_task(self._stopping.wait())
        hearing = asyncio.create_task(hear(self._web.hearing))
        while not stopped.done() and not serving.done():
            self._watchdog.moved("api")
            await asyncio.wait({serving, stopped}, timeout=1, return_when="FIRST_COMPLETED")
        self._watchdog.forget("api")
        stopped.cancel()
        hearing.cancel()
        self._web.close()
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the affair of whoever runs this."""
        yield
