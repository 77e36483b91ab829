"""Large logs and artifacts, through real processes; neither side holds one in memory.

And what becomes of a log whose service is killed while it comes.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from adapters.asking import asking
from adapters.codec import Codec
from adapters.credentials import AttemptOf, Credentials
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.leases import leasing
from adapters.postgres.log import open_log
from adapters.postgres.tokens import signing_key
from adapters.postgres.views.view import address_of
from domain.envelope import Submitted
from domain.kinds import DECIDERS
from domain.ticket.commands import Claim
from tests.journey.command import PATIENCE
from tests.journey.running import Site, running

pytestmark = pytest.mark.service

MB: Final = 1_000_000

RUNNER: Final = """
import asyncio, json, sys
from collections import namedtuple
from hashlib import sha256
from pathlib import Path
from random import Random
from adapters.client import AttemptClient
from workers.runner.artifacts import collect, place, store
from workers.runner.shipping import Shipper

Taken = namedtuple("Taken", ("task", "name", "digest"))
url, credential, token, kind, size = sys.argv[1:]
size = int(size)

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

def said():
    chance, n = Random(1), 0
    while n < size:
        if kind == "lines":
            piece = b"".join(b"%d: a line of the log\\n" % (n + i) for i in range(0, 65536, 64))
        elif kind == "rubbish":
            piece = chance.randbytes(65536)
        else:
            piece = b"x" * 65536
        yield piece[: size - n]
        n += len(piece)

async def large(own):
    before = peak()
    Path("work").mkdir()
    for n in range(4):
        with open(f"work/{n}", "wb") as file:
            file.write(bytes([n]))
            file.truncate(size // 4)
    artifacts = collect(Path("work"), ["*"]).artifacts
    await store(own, Path("work"), artifacts)
    await place(own, [Taken("A", one.name, one.digest) for one in artifacts], Path())
    digests = [one.digest for one in collect(Path("artifacts/A"), ["*"]).artifacts]
    told = "the same" if digests == [one.digest for one in artifacts] else "others"
    print(json.dumps({"digest": told, "size": size, "grown": peak() - before}))

async def main():
    if kind == "artifacts":
        async with AttemptClient(url, credential, "t", int(token)) as own:
            return await large(own)
    async with AttemptClient(url, credential, "t", int(token)) as own:
        limit = (await own.append_log(0, b"")).limit
        shipper, hashed, before = Shipper(own.append_log, ("s3cret" * 5,), limit), sha256(), peak()
        for piece in said():
            hashed.update(piece)
            await shipper.write(piece)
        shipped = await shipper.close()
        grown = peak() - before
        print(json.dumps({"digest": hashed.hexdigest(), "size": shipped, "grown": grown}))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def schema() -> str:
    return f"t_{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def site(
    postgres_dsn: str, schema: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A service whose logs may be large."""
    settings = {
        "DATABASE_URL": postgres_dsn,
        "TURNSTILE_SCHEMA": schema,
        "TURNSTILE_LOG_LIMIT": 300 * MB,
    }
    with running(tmp_path_factory.mktemp("data"), **settings) as site:
        yield site


@asynccontextmanager
async def claimed(address: Address, ticket: str) -> AsyncIterator[tuple[int, str]]:
    """An attempt at the ticket's task: token and credential."""
    async with (
        open_log(address, Codec(DECIDERS)) as log,
        asking(log) as asker,
        open_pool(address_of(address, "access"), 1) as pool,
        leasing(address, 1) as leases,
    ):
        command = Claim(task="A", worker="w1", request=uuid4().hex)
        answer = await asker.ask(Submitted(uuid4(), f"ticket/{ticket}", command, "w1"))
        assert answer.refusal is None
        async with asyncio.timeout(PATIENCE):
            while not await leases.present(ticket, answer.version):
                await asyncio.sleep(0.01)
        credentials = Credentials(await signing_key(pool, "attempts"))
        yield answer.version, credentials.make(AttemptOf(ticket, answer.version, "A", "w1"))


def peak(process: int) -> int:
    """Bytes that a process has had in memory, at most."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def shipped(
    site: Site, credential: str, ticket: str, token: int, kind: str, size: int, folder: Path
) -> Any:
    """What a runner says of what it has shipped."""
    program = RUNNER.replace('"t"', repr(ticket))
    arguments = [site.url, credential, str(token), kind, str(size)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=True,
        cwd=folder,
        capture_output=True,
        timeout=PATIENCE * 3,
    )
    return json.loads(done.stdout)


async def read(site: Site, log: str) -> tuple[str, int]:
    """Digest and size of a log."""
    hashed, size = sha256(), 0
    async with (
        httpx.AsyncClient(base_url=site.url, timeout=PATIENCE) as client,
        client.stream("GET", log) as answer,
    ):
        async for piece in answer.aiter_raw():
            hashed.update(piece)
            size += len(piece)
    return hashed.hexdigest(), size


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("lines", 12 * MB),
        pytest.param("lines", 200 * MB, marks=pytest.mark.slow),
        pytest.param("lines", 32 * MB, marks=pytest.mark.slow),  # a million of them
        pytest.param("rubbish", 40 * MB, marks=pytest.mark.slow),
        pytest.param("one-line", 50 * MB, marks=pytest.mark.slow),
    ],
)
async def test_a_large_log_is_held_in_memory_by_nobody(
    site: Site, postgres_dsn: str, schema: str, tmp_path: Path, kind: str, size: int
) -> None:
    ticket = f"t-{uuid4().hex[:12]}"
    site.open(ticket, "A")
    async with claimed(Address(postgres_dsn, schema), ticket) as (token, credential):
        # What a process needs for any log at all, it has had.
        given = site, credential, ticket, token
        before = peak(site.process.pid)
        told = await asyncio.to_thread(shipped, *given, kind, size, tmp_path)
        log = f"/v1/tickets/{ticket}/attempts/{token}/log"
        assert (told["digest"], size) == await read(site, log)
        assert size == told["size"]
        grown = {"runner": told["grown"], "service": peak(site.process.pid) - before}
        assert {} == {who: n for who, n in grown.items() if n > 64 * MB}


@pytest.mark.slow
async def test_large_artifacts_are_held_in_memory_by_nobody(
    site: Site, postgres_dsn: str, schema: str, tmp_path: Path
) -> None:
    ticket = f"t-{uuid4().hex[:12]}"
    site.open(ticket, "A")
    async with claimed(Address(postgres_dsn, schema), ticket) as (token, credential):
        before = peak(site.process.pid)
        given = site, credential, ticket, token
        told = await asyncio.to_thread(shipped, *given, "artifacts", 320 * MB, tmp_path)
        assert "the same" == told["digest"]
        grown = {"runner": told["grown"], "service": peak(site.process.pid) - before}
        assert {} == {who: n for who, n in grown.items() if n > 64 * MB}


@pytest.mark.slow
async def test_a_log_is_whole_although_its_service_is_killed_while_it_comes(
    postgres_dsn: str, tmp_path: Path
) -> None:
    schema, ticket, size = f"t_{uuid4().hex[:12]}", "t", 24 * MB
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "DATABASE_URL": postgres_dsn,
        "TURNSTILE_SCHEMA": schema,
        "TURNSTILE_HTTP": place,
        "TURNSTILE_LEASE": 2,
    }
    with running(tmp_path / "data", **settings) as first:
        first.open(ticket, "A")
        async with claimed(Address(postgres_dsn, schema), ticket) as (token, credential):
            log = f"/v1/tickets/{ticket}/attempts/{token}/log"
            given = first, credential, ticket, token, "rubbish", size, tmp_path
            shipping = asyncio.create_task(asyncio.to_thread(shipped, *given))
            async with httpx.AsyncClient(base_url=first.url) as client:
                while int((await client.head(log)).headers.get("content-length", 0)) < size // 8:
                    assert not shipping.done()
                    await asyncio.sleep(0.01)
            first.process.kill()
            with running(tmp_path / "data", **settings) as second:
                told = await shipping
                assert (told["digest"], size) == await read(second, log)
