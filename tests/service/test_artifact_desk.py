"""The desk for artifacts, where many ask at a time, or an attempt ends in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.credentials import AttemptOf
from adapters.http import artifacts
from adapters.http.artifacts import OWN, ArtifactDesk
from adapters.http.endpoint import Asked
from adapters.http.problems import Refusal
from adapters.http.ranges import Downloads
from adapters.objects import Objects, open_objects

pytestmark = pytest.mark.service

ANYBODY = Asked("anybody")
DIGEST = f"sha256:{sha256(b'some').hexdigest()}"


def by(token: int) -> Asked:
    return Asked("worker/w1", attempt=AttemptOf("t", token, "A", "w1"))


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects("", str(tmp_path))


class Leases:
    """Attempts at work, until they are lost."""

    def __init__(self) -> None:
        self.lost: set[int] = set()

    async def present(self, ticket: str, token: int) -> bool:
        return token not in self.lost


def desk(objects: Objects, leases: Leases, *, readers: int = 1) -> ArtifactDesk:
    nothing: Any = None  # no attempt is asked for by its name
    return ArtifactDesk(objects, nothing, leases.present, Downloads(readers), 100)


async def body() -> AsyncIterator[bytes]:
    yield b"some"


async def test_readers_take_nothing_from_attempts(objects: Objects) -> None:
    full = desk(objects, Leases(), readers=0)
    await full.put_artifact(DIGEST, body(), by(2))
    with pytest.raises(Refusal) as refused:
        await full.artifact(DIGEST, None, None, None, ANYBODY)
    assert 429 == refused.value.problem.status
    assert 200 == (await full.artifact(DIGEST, None, None, None, by(2))).status_code


async def test_what_comes_whole_after_its_attempt_was_lost_is_not_stored(objects: Objects) -> None:
    leases = Leases()

    async def slow() -> AsyncIterator[bytes]:
        yield b"so"
        leases.lost.add(2)
        yield b"me"

    with pytest.raises(Refusal) as refused:
        await desk(objects, leases).put_artifact(DIGEST, slow(), by(2))
    assert 409 == refused.value.problem.status
    with pytest.raises(Refusal) as refused:
        await desk(objects, leases).artifact(DIGEST, None, None, None, ANYBODY)
    assert 404 == refused.value.problem.status


async def test_one_attempt_takes_not_every_turn(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "PATIENCE", 0.05)
    shared, begun = desk(objects, Leases()), asyncio.Semaphore(0)

    async def endless() -> AsyncIterator[bytes]:
        begun.release()
        await asyncio.Event().wait()
        yield b""

    async with AsyncExitStack() as stack:
        for _ in range(OWN):
            coming = asyncio.create_task(shared.put_artifact(DIGEST, endless(), by(2)))
            stack.callback(coming.cancel)
            await begun.acquire()
        with pytest.raises(Refusal) as refused:
            await shared.put_artifact(DIGEST, body(), by(2))
        assert 503 == refused.value.problem.status
        assert 4 == (await shared.put_artifact(DIGEST, body(), by(3))).size
