"""What every object store promises, on each."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.log import Unavailable
from adapters.objects import PART, NoObject, Objects, open_objects
from tests.contract.stores import bucket, environment, s3_server, variables

pytestmark = pytest.mark.service

SOME = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url, environment(variables(url)):
        yield url


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "objects")
    return f"s3://{bucket(request.getfixturevalue('s3'))}/some/where"


@pytest.fixture
def store(place: str) -> Objects:
    return open_objects(place, "")


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


async def whole(store: Objects, name: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.get(name, start, end)])


async def test_what_was_put_is_there(store: Objects) -> None:
    await store.put("a/b", b"abc")
    assert b"abc" == await whole(store, "a/b") == await store.read("a/b")
    assert 3 == await store.size("a/b")
    assert await store.exists("a/b")


async def test_a_stream_is_put_as_one_object(store: Objects) -> None:
    many = [SOME] * (2 * PART // len(SOME) + 3)
    await store.put("large", parts(*many))
    assert len(SOME) * len(many) == await store.size("large")
    assert b"".join(many) == await whole(store, "large")


async def test_an_empty_stream_is_an_empty_object(store: Objects) -> None:
    await store.put("empty", parts())
    assert (0, b"") == (await store.size("empty"), await whole(store, "empty"))


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 300), (100, None), (7, 7), (0, 10**9)])
async def test_a_range_is_what_is_there_of_it(store: Objects, start: int, end: int | None) -> None:
    await store.put("some", SOME)
    assert SOME[start:end] == await whole(store, "some", start, end)


async def test_what_is_not_there_is_said_to_be_missing(store: Objects) -> None:
    assert await store.size("nothing") is None
    assert not await store.exists("nothing")
    await store.delete("nothing")
    with pytest.raises(NoObject):
        await whole(store, "nothing")


async def test_what_was_deleted_is_gone(store: Objects) -> None:
    await store.put("a", b"abc")
    await store.delete("a")
    assert not await store.exists("a")


async def test_the_same_may_be_put_again_and_at_the_same_time(store: Objects) -> None:
    await asyncio.gather(*(store.put("a", parts(SOME, SOME)) for _ in range(4)))
    assert SOME * 2 == await whole(store, "a")


async def test_of_a_stream_that_breaks_off_nothing_is_there(store: Objects) -> None:
    class Broken(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(2 * PART // len(SOME)):
            yield SOME
        raise Broken

    with pytest.raises(Broken):
        await store.put("half", broken())
    assert not await store.exists("half")


KILLED = """
import asyncio, sys
from adapters.objects import PART, open_objects

async def endless():
    for _ in range(3):
        yield bytes(PART)
    print("half of it is there", flush=True)
    await asyncio.Event().wait()
    yield b""

asyncio.run(open_objects(sys.argv[1], "").put("half", endless()))
"""


def killed_in_the_middle(place: str) -> None:
    """A process that has put half of something is killed."""
    command = [sys.executable, "-c", KILLED, place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "half of it is there\n" == process.stdout.readline()
        process.kill()


async def test_of_a_put_whose_process_is_killed_nothing_is_there(
    place: str, store: Objects
) -> None:
    await asyncio.to_thread(killed_in_the_middle, place)
    assert not await store.exists("half")
    await store.put("half", b"whole")
    assert b"whole" == await whole(store, "half")


async def test_a_bucket_that_is_not_there_is_no_object_that_is_missing(s3: str) -> None:
    store = open_objects("s3://no-such-bucket", "")
    with pytest.raises(Unavailable, match="object store"):
        await store.put("a", b"abc")


async def test_a_store_that_is_away_is_unavailable() -> None:
    with environment(variables("http://127.0.0.1:9")):
        store = open_objects("s3://bucket", "")
    with pytest.raises(Unavailable, match="object store"):
        await store.size("a")
