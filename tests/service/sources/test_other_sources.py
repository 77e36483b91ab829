"""Directories and archives: what lands in the work directory, and what is not let out."""

import asyncio
import gzip
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adapters.sources import Local, NotFetched
from adapters.sources.threads import Wanted
from adapters.sources.unpacking import unpack
from domain.ticket.words import Execution
from domain.workflow import Source
from tests.http_proxy import Proxy, busy, lose, proxied, reset
from tests.service.sources.repositories import Fetcher, Repository, git_source, refused

pytestmark = pytest.mark.service

Served = tuple[Path, Proxy]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A directory, and the server that has it over HTTP."""
    (tmp_path / "served").mkdir()
    answering = partial(Quiet, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        async with proxied("127.0.0.1", server.server_port) as proxy:
            yield tmp_path / "served", proxy
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()


def archive(url: object, content: bytes, **parameters: object) -> Source:
    return Source("archive", str(url), f"sha256:{sha256(content).hexdigest()}", parameters)


def tar(*members: tarfile.TarInfo | tuple[str, str], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as made:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                made.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size, info.mode = len(member[1]), 0o4755
                made.addfile(info, io.BytesIO(member[1].encode()))
    return file.getvalue()


def special(name: str, kind: bytes, leads: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, leads
    return info


def link(name: str, leads: str) -> tarfile.TarInfo:
    return special(name, tarfile.SYMTYPE, leads)


def zipped(*members: tuple[str, str], **modes: int) -> bytes:
    """A zip file; *modes* are those of names by their last letters."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = modes.get(name[-1], 0o100644) << 16
            made.writestr(info, content)
    return file.getvalue()


def names(place: Path) -> set[str]:
    return {one.name for one in place.iterdir()}


# ----------------------------------------------------------------------------------- directories


async def test_a_directory_is_copied_with_its_links_as_they_are(
    runner: Fetcher, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    (there / "in").mkdir(parents=True)
    (there / "in/run").write_text("one")
    (there / "in/run").chmod(0o755)
    (there / "out").symlink_to("/etc")
    (there / "back").symlink_to("in")
    os.mkfifo(there / "pipe")
    for url in (there, f"file://{there}"):
        place = await runner(Source("directory", str(url)))
        assert {"in", "out", "back"} == names(place)
        assert Path("/etc") == (place / "out").readlink()
        assert Path("in") == (place / "back").readlink()
        assert "one" == (place / "in/run").read_text()
        assert os.access(place / "in/run", os.X_OK)
    assert "Left out pipe" in runner.log
    assert "one" == (there / "in/run").read_text()


async def test_a_directory_that_is_not_there_is_the_workflow_s_mistake(
    runner: Fetcher, tmp_path: Path
) -> None:
    for source in (
        Source("directory", str(tmp_path / "nowhere")),
        Source("directory", "relative"),
        Source("directory", "http://localhost/x"),
        Source("directory", str(tmp_path), "main"),
        Source("directory", str(tmp_path)),
        Source("directory", str(tmp_path), None, {"strip": 1}),
    ):
        execution, _ = await refused(runner, source)
        assert Execution.CONFIGURATION is execution


def local_sources(there: Path) -> list[Source]:
    """A source of each kind on this machine: a repository, a directory, an archive beside them."""
    return [
        git_source(there / "tower"),
        git_source(f"file://{there}/tower"),
        Source("directory", str(there / "folder")),
        archive(f"file://{there}/x.tar", (there / "x.tar").read_bytes()),
    ]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A directory of this machine that has something for each kind of source."""
    there = tmp_path / "there"
    Repository(there / "tower").commit({"a.txt": "one"})
    (there / "folder").mkdir()
    (there / "folder/a.txt").write_text("one")
    (there / "x.tar").write_bytes(tar(("a.txt", "one")))
    return there


async def test_what_of_this_machine_is_for_sources_is_fetched(
    runner: Fetcher, there: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(there)
    for allowed in (there, tmp_path / "link"):
        for source in local_sources(there):
            place = await runner(source, local=Local([allowed]))
            assert "one" == (place / "a.txt").read_text()


@pytest.mark.parametrize(
    ("allowed", "hidden"), [([], []), (["elsewhere"], []), (["."], ["there"]), (["the"], [])]
)
async def test_nothing_else_of_this_machine_is_a_source(
    runner: Fetcher, there: Path, tmp_path: Path, allowed: list[str], hidden: list[str]
) -> None:
    rule = Local([tmp_path / name for name in allowed], [tmp_path / name for name in hidden])
    for source in local_sources(there):
        execution, reason = await refused(runner, source, local=rule)
        assert Execution.CONFIGURATION is execution
        assert "turnstile runner --local DIR" in reason


@pytest.mark.parametrize(
    "url",
    [
        "{for_sources}/link/folder",
        "{for_sources}/../there/folder",
        "file://{for_sources}/%2e%2e/there/folder",
        "FILE://localhost{for_sources}/link/folder",
        "file://{for_sources}/%00",
        "{for_sources}/circle",
        "/proc/self/cwd",
    ],
)
async def test_no_link_and_no_way_of_writing_leads_to_what_is_no_source(
    runner: Fetcher, there: Path, tmp_path: Path, url: str
) -> None:
    for_sources = tmp_path / "for-sources"
    for_sources.mkdir()
    (for_sources / "link").symlink_to(there)
    (for_sources / "circle").symlink_to("circle")
    source = Source("directory", url.format(for_sources=for_sources))
    execution, _ = await refused(runner, source, local=Local([for_sources]))
    assert Execution.CONFIGURATION is execution


async def test_git_reads_where_the_rule_has_looked(
    runner: Fetcher, there: Path, tmp_path: Path
) -> None:
    for_sources = tmp_path / "for-sources"
    Repository(for_sources / "tower").commit({"a.txt": "another"})
    (for_sources / "tower?").mkdir()
    source = git_source(f"file://{for_sources}/tower?/../../there/tower")
    place = await runner(source, local=Local([for_sources]))
    assert "another" == (place / "a.txt").read_text()


async def test_a_directory_with_something_hidden_in_it_is_no_source(
    runner: Fetcher, there: Path
) -> None:
    source = Source("directory", str(there))
    execution, reason = await refused(runner, source, local=Local([there], [there / "tower/.git"]))
    assert Execution.CONFIGURATION is execution
    assert "has something in itself that no task is to see" in reason
    within = await runner(git_source(there / "tower"), local=Local([there], [there / "tower/data"]))
    assert "one" == (within / "a.txt").read_text()


async def test_a_source_of_an_unknown_kind_is_the_workflow_s_mistake(runner: Fetcher) -> None:
    execution, reason = await refused(runner, Source("svn", "/x"))
    assert Execution.CONFIGURATION is execution
    assert "archive, directory, git" in reason


async def test_kinds_go_together(runner: Fetcher, tmp_path: Path, served: Served) -> None:
    root, server = served
    content = tar(("x-1/data.txt", "three"))
    (root / "x.tar.gz").write_bytes(content)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/two.txt").write_text("two")
    tower = Repository(tmp_path / "tower")
    tower.commit({"one.txt": "one"})
    place = await runner(
        archive(f"{server.url}/x.tar.gz", content, strip=1, path="data"),
        git_source(tower.path, "main"),
        Source("directory", str(tmp_path / "there"), None, {"path": "there"}),
    )
    told = [(place / name).read_text() for name in ("one.txt", "there/two.txt", "data/data.txt")]
    assert ["one", "two", "three"] == told


# -------------------------------------------------------------------------------------- archives


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
async def test_a_tar_file_is_unpacked(runner: Fetcher, tmp_path: Path, mode: str) -> None:
    members = (
        ("x-1/a.txt", "one"),
        special("x-1/same.txt", tarfile.LNKTYPE, "x-1/a.txt"),
        link("x-1/in/up", "../a.txt"),
        link("x-1/on", "in"),
        special("x-1/empty", tarfile.DIRTYPE),
        ("x-1/a.zip", "PK"),
    )
    content = tar(*members, mode=mode)
    (tmp_path / "x.tar").write_bytes(content)
    place = await runner(archive(tmp_path / "x.tar", content, strip=1))
    for name in ("a.txt", "same.txt", "in/up", "on/up"):
        assert "one" == (place / name).read_text()
    assert {"a.txt", "same.txt", "in", "on", "empty", "a.zip"} == names(place)
    assert 0o755 == (place / "a.txt").stat().st_mode & 0o7777
    assert "Unpacked 5 files" in runner.log


async def test_a_zip_file_is_unpacked(runner: Fetcher, tmp_path: Path) -> None:
    content = zipped(("x/run", "one"), ("x/to", "run"), n=0o100755, o=0o120777)
    (tmp_path / "x").write_bytes(content)
    place = await runner(archive(f"file://{tmp_path}/x", content))
    assert Path("run") == (place / "x/to").readlink()
    assert os.access(place / "x/run", os.X_OK)


@pytest.mark.parametrize(
    "content",
    [
        tar(("../a", "x")),
        tar(("/a", "x")),
        tar(("a/../../b", "x")),
        tar(link("a", "/etc")),
        tar(link("a", "../x")),
        tar(link("d", "."), link("e", "d/../x")),
        tar(link("a/b", "../../x")),
        tar(link("a", "b"), ("a/c", "x")),
        tar(("a", "x"), ("a/c", "x")),
        tar(("a/c", "x"), ("a", "x")),
        tar(special("a", tarfile.LNKTYPE, "/etc/passwd")),
        tar(special("a", tarfile.LNKTYPE, "b")),
        tar(link("b", "c"), special("a", tarfile.LNKTYPE, "b")),
        tar(special("a", tarfile.FIFOTYPE)),
        tar(special("a", tarfile.CHRTYPE)),
        zipped(("../a", "x")),
        zipped(("/a", "x")),
        zipped(("a\\..\\b", "x")),
        zipped(("a", "/etc"), a=0o120777),
        b"neither",
        b"",
        gzip.compress(b"not a tar"),
        tar(("a", "x" * 10_000))[:-40],
        zipped(("a", "x"))[:20],
    ],
    # What is packed has the time in it, and a test has the same name in every process.
    ids=lambda content: "archive",
)
async def test_what_would_leave_an_archive_makes_it_wrong(
    runner: Fetcher, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x").write_bytes(content)
    place = runner.place()
    with pytest.raises(NotFetched) as failed:
        await runner(archive(tmp_path / "x", content), place=place)
    assert Execution.CONFIGURATION is failed.value.execution
    assert {"x", "runner"} == names(tmp_path)
    assert {place.name} == names(tmp_path / "runner")


def test_an_archive_that_is_too_large_when_unpacked_is_wrong(tmp_path: Path) -> None:
    for content in (tar(("a", "x" * 100), ("b", "x" * 100)), zipped(("a", "x" * 200))):
        with pytest.raises(NotFetched, match="too large"):
            unpack(io.BytesIO(content), tmp_path, 0, Wanted(), most=150)


async def test_an_archive_that_is_not_what_was_meant_is_not_unpacked(
    runner: Fetcher, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(tar(("a", "x")))
    place = runner.place()
    with pytest.raises(NotFetched, match="not what was meant") as failed:
        await runner(archive(tmp_path / "x", b"another"), place=place)
    assert Execution.CONFIGURATION is failed.value.execution
    assert not list(place.iterdir())


async def test_an_archive_needs_its_digest(runner: Fetcher, tmp_path: Path) -> None:
    for revision in (None, "main", "sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e"):
        execution, reason = await refused(runner, Source("archive", str(tmp_path), revision))
        assert Execution.CONFIGURATION is execution
        assert "digest" in reason


@pytest.mark.parametrize("trouble", [busy(503), busy(429), reset(), lose(), lose(400)])
async def test_an_archive_that_does_not_come_whole_is_asked_for_again(
    runner: Fetcher, served: Served, trouble: object
) -> None:
    root, server = served
    content = tar(("a.bin", os.urandom(3000).hex()))
    (root / "x").write_bytes(content)
    server.next(trouble, trouble)  # type: ignore[arg-type]
    place = await runner(archive(f"{server.url}/x", content))
    assert {"a.bin"} == names(place)
    assert "Try 3 comes in" in runner.log


async def test_whose_fault_it_is_that_an_archive_does_not_come(
    runner: Fetcher, served: Served
) -> None:
    _, server = served
    source = archive(server.url.replace("//", "//ann:hunter2@") + "/x?signature=hunter2", b"x")
    verdicts: list[tuple[Callable[[], None], Execution]] = [
        (lambda: None, Execution.CONFIGURATION),
        (lambda: server.next(busy(403)), Execution.INFRASTRUCTURE),
        (lambda: server.next(busy(400)), Execution.CONFIGURATION),
        (lambda: server.next(*[busy(503)] * 100), Execution.INFRASTRUCTURE),
    ]
    for trouble, expected in verdicts:
        trouble()
        execution, reason = await refused(runner, source, seconds=5.0)
        assert expected is execution
        assert "hunter2" not in reason + runner.log


async def test_a_server_that_stops_in_the_middle_costs_no_more_than_the_time_there_is(
    runner: Fetcher,
) -> None:
    is_over = asyncio.Event()

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        is_over.set()

    async with await asyncio.start_server(stop, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        source = archive(f"http://127.0.0.1:{port}/x", b"x")
        execution, _ = await refused(runner, source, seconds=0.2)
        await is_over.wait()
        assert Execution.INFRASTRUCTURE is execution
