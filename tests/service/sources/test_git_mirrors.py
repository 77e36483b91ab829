"""Mirrors: what many attempts cost the server, and what becomes of those that use them."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from adapters.sources import prune
from adapters.sources.git.locks import Taken, locked
from domain.workflow import Source
from tests.service.sources.repositories import (
    Fetcher,
    Repository,
    git,
    git_source,
    head,
    marked,
    until,
)
from workers.demo.git_server import GitServer

pytestmark = pytest.mark.service


async def test_a_hundred_attempts_of_a_commit_cost_the_server_one_fetch(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    source = git_source(f"{server.url}/tower", commit)
    async with asyncio.TaskGroup() as all_of_them:
        fetching = [all_of_them.create_task(runner(source)) for _ in range(100)]
    assert {commit} == {head(one.result()) for one in fetching[::20]}
    assert 1 == server.fetches
    asked = server.requests
    await runner(source)
    assert asked == server.requests


async def test_many_attempts_of_a_branch_share_what_was_asked_and_fetched(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    source = git_source(f"{server.url}/tower", "main")
    async with asyncio.TaskGroup() as all_of_them:
        fetching = [all_of_them.create_task(runner(source)) for _ in range(20)]
    assert {commit} == {head(one.result()) for one in fetching}
    assert 1 == server.fetches
    assert server.requests < 10


async def test_a_commit_that_is_here_needs_no_server(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    first = tower.commit({"a.txt": "one"})
    tower.commit({"a.txt": "two"})
    url = f"{server.url}/tower"
    await runner(git_source(url, "main"))
    server.refuse(1000)
    assert first == head(await runner(git_source(url, first)))


async def test_what_an_attempt_needs_of_the_mirrors_is_told(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    wall = Repository(tower.path.parent / "wall")
    wall.git("submodule", "--quiet", "add", str(tower.path), "tower")
    wall.git("config", "--file", ".gitmodules", "submodule.tower.url", "../tower")
    wall.commit({})
    of_tower = git_source(f"{server.url}/tower", "main", path="in")
    of_wall = git_source(f"{server.url}/wall", "main", submodules=True)
    place = await runner(of_tower)
    assert [lender(place / "in")] == runner.borrowed
    place = await runner(of_wall)
    assert sorted([lender(place), lender(place / "tower")]) == runner.borrowed
    await runner(Source("directory", str(place)))
    assert [] == runner.borrowed


def lender(place: Path) -> Path:
    """Where the objects are that a work tree borrows."""
    return Path((place / ".git/objects/info/alternates").read_text().strip())


async def test_a_task_cannot_damage_what_others_get(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    source = git_source(f"{server.url}/tower", commit)
    place = await runner(source)
    git(
        place,
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "commit",
        "--quiet",
        "-am",
        "x",
        "--allow-empty",
    )
    git(place, "branch", "theirs")
    git(place, "gc", "--quiet", "--prune=now")
    shutil.rmtree(place)
    other = await runner(source)
    assert commit == head(other)
    assert "" == git(other, "branch", "--list", "theirs")


async def test_a_mirror_whose_writer_was_killed_is_used_again(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    url = f"{server.url}/tower"
    await runner(git_source(url, "main"))
    (mirror,) = runner.mirrors.glob("*/")
    for left in ("unfinished", "packed-refs.lock", "HEAD.lock", "shallow.lock", "gc.pid"):
        (mirror / left).touch()
    (mirror / "refs/turnstile/commits").mkdir(parents=True, exist_ok=True)
    for left in ("refs/turnstile/commits/x.lock", "objects/pack/tmp_pack_x"):
        (mirror / left).touch()
    commit = tower.commit({"a.txt": "two"})
    tower.git("tag", "v2")
    (mirror / f"refs/turnstile/commits/{commit}.lock").touch()
    assert commit == head(await runner(git_source(url, "main")))
    assert not list(mirror.rglob("*.lock"))


async def test_a_mirror_that_is_damaged_is_made_anew(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    source = git_source(f"{server.url}/tower", commit)
    await runner(source)
    (mirror,) = runner.mirrors.glob("*/")
    tree = tower.git("rev-parse", "HEAD^{tree}")
    damaged = [*mirror.glob(f"objects/{tree[:2]}/{tree[2:]}"), *mirror.glob("objects/pack/*.pack")]
    for file in damaged:
        file.chmod(0o644)
        file.write_bytes(b"")
    assert damaged
    assert commit == head(await runner(source))
    assert "made anew" in runner.log


async def test_who_waits_for_a_mirror_is_let_in_when_its_writer_has_ended(
    tower: Repository, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    await runner(git_source(tower.path, commit))
    (writing,) = runner.mirrors.glob("*.writing")
    async with locked(writing):
        # What is here needs nobody who writes.
        assert commit == head(await runner(git_source(tower.path, commit)))
        waiting = asyncio.create_task(runner(git_source(tower.path, "main")))
        await until(lambda: (runner.mirrors.parent / "attempt-3").exists())
        assert not waiting.done()
    assert commit == head(await waiting)


async def test_what_a_killed_runner_has_begun_keeps_its_mirror_until_it_has_ended(
    runner: Fetcher, tmp_path: Path
) -> None:
    mark = {"TURNSTILE_TEST_MARK": os.urandom(8).hex()}
    script = """if True:
        import asyncio, sys
        from pathlib import Path
        from tests.service.sources.repositories import Fetcher, git_source
        mark = dict([sys.argv[3].split("=")])
        asyncio.run(Fetcher(Path(sys.argv[1]))(git_source(sys.argv[2], "f" * 40), environment=mark))
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/tower"
        told = "=".join(*mark.items())
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, str(runner.mirrors.parent), url, told)
        )
        await until(lambda: asking(mark))
        child.kill()
        await child.wait()
        (writing,) = runner.mirrors.glob("*.writing")
        with pytest.raises(Taken):
            async with locked(writing, waits=False):
                pass
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)
        async with locked(writing):
            assert [] == asking(mark)


async def test_mirrors_that_nobody_needs_are_taken_away(tower: Repository, runner: Fetcher) -> None:
    commit = tower.commit({"a.txt": "one"})
    place = await runner(git_source(tower.path, commit))
    (mirror,) = runner.mirrors.glob("*/")
    assert [] == await prune(runner.mirrors)
    assert [] == await prune(runner.mirrors, unused=0, size=0)
    assert "1" == git(place, "rev-list", "--count", "HEAD")
    shutil.rmtree(place)
    assert [] == await prune(runner.mirrors)
    assert [mirror] == await prune(runner.mirrors, size=0)
    assert commit == head(await runner(git_source(tower.path, commit)))


def asking(mark: dict[str, str]) -> list[int]:
    """The processes with a mark that talk to a server."""
    return [pid for pid in marked(mark) if "fetch" in psutil.Process(pid).cmdline()]
