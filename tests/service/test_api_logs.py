"""Logs and artifacts through the real API, as a runner and as people ask for them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from adapters.client import Conflict, Invalid, NotFound, TooLarge
from adapters.http.logs import ROOM
from adapters.postgres.connection import Address
from tests.journey.running import problem
from tests.service.attempt_site import LIMIT, Site, at_work
from workers.runner.artifacts import Unfit, collect, place, store
from workers.runner.shipping import Shipper

pytestmark = pytest.mark.service


@pytest_asyncio.fixture
async def site(address: Address, tmp_path: Path) -> AsyncIterator[Site]:
    async with at_work(address, tmp_path / "data") as site:
        yield site


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_what_an_attempt_says_everybody_reads_at_once(site: Site) -> None:
    async with site.attempt() as attempt:
        appended = await attempt.own.append_log(0, b"one\n\xff\r\x1b[1m")
        assert (10, LIMIT) == (appended.end, appended.limit)
        read = await site.anybody.get(attempt.log)
        assert (200, b"one\n\xff\r\x1b[1m") == (read.status_code, read.content)
        assert "text/plain" == read.headers["content-type"]
        assert "nosniff" == read.headers["x-content-type-options"]
        assert read.content == await whole(site.people.log("t", attempt.token))


async def test_the_log_of_a_task_is_that_of_its_newest_attempt(site: Site) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"one\n", last=True)
        await site.claimed(attempt)
        assert b"one\n" == await whole(site.people.log("t", "A"))
        with pytest.raises(NotFound):
            await whole(site.people.log("t", "nothing"))


async def test_an_attempt_that_has_said_nothing_has_an_empty_log(site: Site) -> None:
    async with site.attempt() as attempt:
        await site.claimed(attempt)
        assert b"" == (await site.anybody.get(attempt.log)).content
        for token in ("99", "x", "9" * 20):
            answer = await site.anybody.get(f"/v1/tickets/t/attempts/{token}/log")
            assert (404, "unknown-attempt", "token") == problem(answer)


async def test_parts_of_a_log_are_read(site: Site) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"0123456789")
        part = await site.anybody.get(attempt.log, headers={"Range": "bytes=-3"})
        assert (206, b"789", "3", "bytes 7-9/10") == (
            part.status_code,
            part.content,
            part.headers["content-length"],
            part.headers["content-range"],
        )
        beyond = await site.anybody.get(attempt.log, headers={"Range": "bytes=10-"})
        assert (416, "no-such-part", "Range") == problem(beyond)
        assert "bytes */10" == beyond.headers["content-range"]


async def test_who_knows_a_log_hears_that_it_is_the_same(site: Site) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"0123")
        tag = (await site.anybody.get(attempt.log)).headers["etag"]
        known = {"If-None-Match": tag}
        assert 304 == (await site.anybody.get(attempt.log, headers=known)).status_code
        part = {"Range": "bytes=2-", "If-Range": tag}
        assert b"23" == (await site.anybody.get(attempt.log, headers=part)).content
        await attempt.own.append_log(4, b"4567")
        assert 200 == (await site.anybody.get(attempt.log, headers=known)).status_code
        assert b"01234567" == (await site.anybody.get(attempt.log, headers=part)).content
        head = await site.anybody.head(attempt.log)
        assert (200, "8", b"") == (
            head.status_code,
            head.headers["content-length"],
            head.content,
        )


async def test_a_gap_is_refused_and_the_end_told(site: Site) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"0123")
        answer = await site.anybody.put(
            attempt.log,
            params={"start": 7},
            content=b"789",
            headers={"Authorization": f"Bearer {attempt.credential}"},
        )
        assert (409, "log-gap", "start") == problem(answer)
        assert 4 == answer.json()["end"]


async def test_nobody_else_appends_and_the_attempt_nowhere_else(site: Site) -> None:
    async with site.attempt() as attempt:
        for bearer, status in ((site.api.token, 401), ("turnstile_attempt_x", 401)):
            answer = await site.anybody.put(
                attempt.log,
                params={"start": 0},
                content=b"x",
                headers={"Authorization": f"Bearer {bearer}"},
            )
            assert status == answer.status_code, answer.text
        mine = {"Authorization": f"Bearer {attempt.credential}"}
        other = attempt.log.replace("/t/", "/u/")
        answer = await site.anybody.put(other, params={"start": 0}, content=b"x", headers=mine)
        assert (403, "forbidden", "Authorization") == problem(answer)


async def test_an_attempt_that_is_over_appends_and_stores_nothing(
    site: Site, tmp_path: Path
) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"0123")
        await site.reported(attempt)
        with pytest.raises(Conflict, match="stale-token"):
            await attempt.own.append_log(4, b"4567")
        (tmp_path / "file").write_bytes(b"some")
        with pytest.raises(Conflict, match="stale-token"):
            await attempt.own.put_artifact(_digest(b"some"), tmp_path / "file")
        assert b"0123" == (await site.anybody.get(attempt.log)).content


async def test_a_log_may_be_as_long_as_its_task_says_within_the_limits(site: Site) -> None:
    for task, limit in (("brief", 10), ("boundless", 2 * LIMIT)):
        async with site.attempt(task) as attempt:
            await site.claimed(attempt)
            assert limit == (await attempt.own.append_log(0, b"")).limit
            start, most = 0, limit + ROOM
            while start < most:
                part = bytes(min(2**20, most - start))
                start = (await attempt.own.append_log(start, part)).end
            with pytest.raises(TooLarge):
                await attempt.own.append_log(start, b"x")


async def test_a_chunk_has_a_bound(site: Site) -> None:
    async with site.attempt() as attempt:
        with pytest.raises(TooLarge):
            await attempt.own.append_log(0, bytes(2**20 + 1))


async def test_a_log_is_followed_while_it_grows_until_it_ends(site: Site) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"\xff one\n")
        seen = bytearray()
        async for piece in site.people.log("t", attempt.token, follow=True):
            seen += piece
            if len(seen) < 30:
                await attempt.own.append_log(len(seen), b"more\n")
            else:
                await attempt.own.append_log(len(seen), b"", last=True)
        assert b"\xff one\n" + b"more\n" * 5 == bytes(seen)


async def test_a_reader_goes_on_where_it_was(site: Site) -> None:
    async with site.attempt() as attempt:
        await attempt.own.append_log(0, b"0123456789", last=True)
        for query, headers in (({"start": 4}, {}), ({}, {"Last-Event-ID": "4"})):
            answer = await site.anybody.get(f"{attempt.log}/stream", params=query, headers=headers)
            told = [
                json.loads(line.removeprefix("data: "))
                for line in answer.text.splitlines()
                if line.startswith("data: ")
            ]
            assert [
                {"start": 4, "data": base64.b64encode(b"456789").decode()},
                {"start": 10, "ended": True},
            ] == told
        answer = await site.anybody.get(f"{attempt.log}/stream", headers={"Last-Event-ID": "x"})
        assert (422, "invalid", "Last-Event-ID") == problem(answer)


async def test_the_stream_of_an_attempt_that_said_nothing_ends_with_it(site: Site) -> None:
    async with site.attempt() as attempt:
        await site.reported(attempt)
        assert b"" == await whole(site.people.log("t", attempt.token, follow=True))


async def test_there_are_so_many_streams_and_no_more(address: Address, tmp_path: Path) -> None:
    async with at_work(address, tmp_path / "data", streams=1) as site, site.attempt() as attempt:
        await attempt.own.append_log(0, b"one")
        stream = f"{attempt.log}/stream"
        async with site.anybody.stream("GET", stream) as first:
            assert 200 == first.status_code
            assert (429, "too-many", None) == problem(await site.anybody.get(stream))


async def test_streams_end_once_their_token_is_revoked(address: Address, tmp_path: Path) -> None:
    ended: list[str] = []

    async def listen(path: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with site.anybody.stream("GET", path, headers=headers) as stream:
            assert 200 == stream.status_code
            begun.release()
            with suppress(httpx.RemoteProtocolError):
                await stream.aread()
            ended.append(path)

    async with (
        at_work(address, tmp_path / "data", reading="token") as site,
        site.attempt() as attempt,
        asyncio.timeout(10),
        asyncio.TaskGroup() as listening,
    ):
        await attempt.own.append_log(0, b"one")
        begun = asyncio.Semaphore(0)
        reader = await site.people.make_token("reader", ["read"])
        paths = ["/v1/stream", f"{attempt.log}/stream"]
        for path in paths:
            listening.create_task(listen(path, reader.token or ""))
            await begun.acquire()
        other = listening.create_task(listen("/v1/stream", site.api.token))
        await begun.acquire()
        await site.people.revoke_token(reader.id)
        while len(ended) < 2:
            await asyncio.sleep(0.01)
        other.cancel()
    assert sorted(paths) == sorted(ended)


async def test_a_shipper_ships_to_the_api(site: Site) -> None:
    async with site.attempt() as attempt:
        limit = (await attempt.own.append_log(0, b"")).limit
        shipper = Shipper(attempt.own.append_log, ("hunter2",), limit)
        for n in range(100_000):
            await shipper.write(b"line %d of hunter2\n" % n)
        size = await shipper.close()
        log = await whole(site.people.log("t", attempt.token))
        assert size == len(log)
        assert b"hunter2" not in log
        assert log.startswith(b"line 0 of ***\n")
        assert log.endswith(b"line 99999 of ***\n")
        assert 1 == log.count(b"[turnstile: the log is longer than 1000000 bytes")
        assert log[-100:] == await whole(site.people.log("t", attempt.token, start=-100))


# -------------------------------------------------------------------------------- artifacts


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def left(folder: Path, beginning: str) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(beginning)]


class Taken(NamedTuple):
    task: str
    name: str
    digest: str


async def test_artifacts_are_collected_stored_and_placed(site: Site, tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    (work / "dist").mkdir(parents=True)
    other.mkdir()
    for name, data in (("a", b"first" * 100_000), ("b c", b""), ("d", b"first" * 100_000)):
        (work / "dist" / name).write_bytes(data)
    artifacts = collect(work, ["dist/*"]).artifacts
    async with site.attempt() as attempt:
        await store(attempt.own, work, artifacts)
        await store(attempt.own, work, artifacts)
        taken = [Taken("A", one.name, one.digest) for one in artifacts]
        await place(attempt.own, taken, other)
        for one in artifacts:
            placed = (other / "artifacts" / "A" / one.name).read_bytes()
            assert (one.digest, one.size) == (_digest(placed), len(placed))
        with pytest.raises(Unfit):
            await place(attempt.own, [Taken("A", "../x", artifacts[0].digest)], other)
        (other / "artifacts" / "B").symlink_to(tmp_path)  # as a repository may have it
        (other / "artifacts" / "C").touch()
        for task in ("B", "C"):
            with pytest.raises(Unfit, match="no folder"):
                await place(attempt.own, [Taken(task, "x", artifacts[0].digest)], other)
        assert [] == left(tmp_path, "x")
        both = [Taken("D", name, artifacts[0].digest) for name in ("f", "f.part")]
        await place(attempt.own, both, other)
        assert ["f", "f.part"] == sorted(left(other / "artifacts" / "D", ""))
        await site.reported(attempt, *artifacts)
        assert [one.name for one in artifacts] == [
            one.name for one in await site.people.artifacts("t", attempt.token)
        ]
        path = f"/v1/tickets/t/attempts/{attempt.token}/artifacts"
        answer = await site.anybody.get(f"{path}/dist/a", headers={"Range": "bytes=5-9"})
        assert (206, b"first") == (answer.status_code, answer.content)
        assert (
            "attachment; filename=\"a\"; filename*=UTF-8''a"
            == (answer.headers["content-disposition"])
        )
        assert "default-src 'none'; sandbox" == answer.headers["content-security-policy"]
        assert 404 == (await site.anybody.get(f"{path}/dist/x")).status_code


async def test_an_attempt_that_is_over_reads_no_artifact(address: Address, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"some")
    async with (
        at_work(address, tmp_path / "data", reading="token") as site,
        site.attempt() as attempt,
    ):
        await attempt.own.put_artifact(_digest(b"some"), file)
        await attempt.own.get_artifact(_digest(b"some"), tmp_path / "got")
        await site.reported(attempt)
        with pytest.raises(Conflict, match="stale-token"):
            await attempt.own.get_artifact(_digest(b"some"), tmp_path / "again")


async def test_what_is_not_what_its_digest_says_is_not_stored(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"some")
    async with site.attempt() as attempt:
        with pytest.raises(Invalid, match="digest"):
            await attempt.own.put_artifact(_digest(b"other"), file)
        with pytest.raises(Invalid, match="digest"):
            await attempt.own.put_artifact("md5:0", file)
        assert not await attempt.own.has_artifact(_digest(b"other"))
        with pytest.raises(NotFound):
            await attempt.own.get_artifact(_digest(b"other"), tmp_path / "got")
        assert [] == left(tmp_path, "got")


async def test_what_is_too_large_is_not_stored(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(LIMIT + 1))
    digest = _digest(bytes(LIMIT + 1))
    async with site.attempt() as attempt:
        with pytest.raises(TooLarge):
            await attempt.own.put_artifact(digest, file)
        answer = await site.anybody.put(
            f"/v1/artifacts/{digest}",
            content=bytes(LIMIT + 1),
            headers={"Authorization": f"Bearer {attempt.credential}"},
        )
        assert (413, "too-large", "body") == problem(answer)
        assert not await attempt.own.has_artifact(digest)


async def test_of_an_upload_that_breaks_off_nothing_is_there(site: Site) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(LIMIT // 2)
        raise ConnectionError

    digest = _digest(bytes(LIMIT // 2))
    async with site.attempt() as attempt:
        mine: Any = {"Authorization": f"Bearer {attempt.credential}"}
        with pytest.raises(ConnectionError):
            await site.anybody.put(f"/v1/artifacts/{digest}", content=broken(), headers=mine)
        assert not await attempt.own.has_artifact(digest)
