"""An engine that neither moves nor stands at the end makes room for another."""

import asyncio
import os
import signal
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing

from adapters.postgres.connection import Address
from adapters.postgres.server import Server, bundled
from workers.watchdog import EXIT_STUCK, Watchdog

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


def test_what_does_not_move_ends_the_process() -> None:
    ended = threading.Event()
    watchdog = Watchdog(0.1, ended.set)
    watchdog.moved("partition 3")
    assert ended.wait(10)


def test_what_moves_or_is_forgotten_ends_nothing() -> None:
    ended = threading.Event()
    watchdog = Watchdog(1.0, ended.set)
    watchdog.moved("partition 2")
    watchdog.forget("partition 2")
    for _ in range(40):
        watchdog.moved("partition 3")
        assert not ended.wait(0.05)
    watchdog.close()


@asynccontextmanager
async def _engine(server: Server, schema: str) -> AsyncIterator[tuple[Process, asyncio.Task[int]]]:
    """An engine that has taken its partitions over, and what it has logged since."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("turnstile"),
        "engine",
        env={
            **os.environ,
            "DATABASE_URL": server.dsn,
            "TURNSTILE_SCHEMA": schema,
            "TURNSTILE_PARTITIONS": "2",
            "TURNSTILE_LEASE": "1",
            "TURNSTILE_WATCHDOG": "2",
            "TURNSTILE_LOG_FORMAT": "json",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        taken = 0
        async with asyncio.timeout(20):
            while taken < 2:
                taken += b'"taken_over"' in await process.stderr.readline()
        reading = asyncio.create_task(_count(process.stderr))
        yield process, reading
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        await process.wait()


async def _count(lines: asyncio.StreamReader) -> int:
    """How often a partition was taken over from now to the end."""
    return (await lines.read()).count(b'"taken_over"')


@pytest.fixture
async def server(reachable: Path) -> AsyncIterator[Server]:
    async with bundled(reachable / "watched-postgres", fsync=False) as server:
        yield server


async def test_an_engine_that_hangs_ends_itself(server: Server, address: Address) -> None:
    async with _engine(server, address.schema) as (process, _):
        children = [int(pid) for pid in _children(server.pid)]
        try:
            for pid in children:
                os.kill(pid, signal.SIGSTOP)  # the database answers nothing any more
            async with asyncio.timeout(20):
                assert EXIT_STUCK == await process.wait()
        finally:
            for pid in children:
                os.kill(pid, signal.SIGCONT)


async def test_an_engine_that_was_paused_is_not_taken_for_stuck(
    server: Server, address: Address
) -> None:
    async with _engine(server, address.schema) as (process, taken):
        process.send_signal(signal.SIGSTOP)
        await _outlasts(process, 3)  # longer than the watchdog's patience and the lease
        process.send_signal(signal.SIGCONT)
        await _outlasts(process, 3)
        process.terminate()
        assert 0 == await process.wait()
        assert 0 == await taken  # nobody else was there, so it went on with what it had


async def _outlasts(process: Process, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), seconds)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
