"""Git sources: what lands in the work directory, what it costs the server, whose fault it is."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from adapters.sources import NotFetched, prune
from adapters.sources.git.locks import locked
from domain.ticket.words import Execution
from tests.unit.repositories import Fetcher, Repository, git_source, until
from workers.demo.git_server import GitServer, serving


@pytest.fixture
def tower(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "tower")


@pytest.fixture
async def server(tower: Repository) -> AsyncIterator[GitServer]:
    async with serving(tower.path.parent) as git:
        yield git


@pytest.fixture
def runner(tmp_path: Path) -> Fetcher:
    (tmp_path / "runner").mkdir()
    return Fetcher(tmp_path / "runner")


def head(place: Path) -> str:
    command = ["git", "-C", str(place), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def git(place: Path, *arguments: str) -> str:
    command = ["git", "-C", str(place), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def refused(runner: Fetcher, *sources: object, **options: object) -> tuple[Execution, str]:
    with pytest.raises(NotFetched) as failed:
        await runner(*sources, **options)  # type: ignore[arg-type]
    return failed.value.execution, failed.value.reason


# ------------------------------------------------------------------------- what is checked out


async def test_a_commit_a_branch_and_a_tag_are_checked_out(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    first = tower.commit({"a.txt": "one"})
    tower.git("tag", "--annotate", "--message", "first", "v1")
    tower.git("tag", "light")
    second = tower.commit({"a.txt": "two"})
    url = f"{server.url}/tower"
    wanted = {
        first: first,
        first.upper(): first,
        first[:9]: first,
        "v1": first,
        "light": first,
        "refs/tags/v1": first,
        "main": second,
        "refs/heads/main": second,
        None: second,
    }
    for revision, commit in wanted.items():
        place = await runner(git_source(url, revision))
        assert commit == head(place)
    assert "two" == (place / "a.txt").read_text()


async def test_a_repository_of_this_machine_is_fetched_by_path_and_by_url(
    tower: Repository, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    for url in (tower.path, f"file://{tower.path}"):
        assert commit == head(await runner(git_source(url, "main")))


async def test_git_works_in_the_work_tree(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    tower.git("tag", "v1")
    tower.commit({"a.txt": "two"})
    place = await runner(git_source(f"{server.url}/tower", "main"))
    assert "2" == git(place, "rev-list", "--count", "HEAD")
    assert "" == git(place, "status", "--porcelain")
    assert git(place, "describe", "--tags").startswith("v1-1-g")
    assert f"{server.url}/tower" == git(place, "remote", "get-url", "origin")
    git(place, "fetch", "--quiet", "origin")


async def test_a_branch_that_has_moved_is_fetched_again(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    url = f"{server.url}/tower"
    for content in ("one", "two"):
        commit = tower.commit({"a.txt": content})
        assert commit == head(await runner(git_source(url, "main")))
    tower.git("commit", "--quiet", "--amend", "--message", "other history")
    assert tower.git("rev-parse", "HEAD") == head(await runner(git_source(url, "main")))


async def test_a_commit_that_no_branch_has_any_more_is_fetched(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    gone = tower.commit({"a.txt": "two"})
    tower.git("reset", "--quiet", "--hard", "HEAD^")
    assert gone == head(await runner(git_source(f"{server.url}/tower", gone)))


async def test_a_merge_of_two_is_the_same_commit_each_time(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    tower.git("branch", "change")
    main = tower.commit({"b.txt": "main"})
    tower.git("checkout", "--quiet", "change")
    change = tower.commit({"c.txt": "change"})
    source = git_source(f"{server.url}/tower", "main", merge=change)
    places = [await runner(source) for _ in range(2)]
    assert head(places[0]) == head(places[1])
    assert [main, change] == git(places[0], "show", "--no-patch", "--format=%P").split()
    assert {"a.txt", "b.txt", "c.txt", ".git"} == {one.name for one in places[0].iterdir()}


async def test_a_merge_that_conflicts_is_the_workflow_s_mistake(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    tower.git("branch", "change")
    tower.commit({"a.txt": "main"})
    tower.git("checkout", "--quiet", "change")
    tower.commit({"a.txt": "change"})
    source = git_source(f"{server.url}/tower", "main", merge="change")
    assert (Execution.CONFIGURATION, "merge conflict in a.txt") == await refused(runner, source)


async def test_a_depth_is_the_length_of_the_history(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commits = [tower.commit({"a.txt": str(n)}) for n in range(5)]
    url = f"{server.url}/tower"
    for revision, depth, count in (("main", 1, 1), (commits[3], 2, 2), (commits[2], 2, 2)):
        place = await runner(git_source(url, revision, depth=depth))
        assert str(count) == git(place, "rev-list", "--count", "HEAD")
    whole = await runner(git_source(url, "main"))
    assert "5" == git(whole, "rev-list", "--count", "HEAD")


async def test_submodules_are_checked_out_inside_one_another(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    bell = Repository(tower.path.parent / "bell")
    inner = bell.commit({"bell.txt": "dong"})
    wall = Repository(tower.path.parent / "wall")
    wall.commit({"wall.txt": "stone"})
    wall.git("submodule", "--quiet", "add", "../bell", "bell")
    wall.commit({})
    tower.git("submodule", "--quiet", "add", "--name", "the wall", str(wall.path), "parts/wall")
    tower.git("config", "--file", ".gitmodules", "submodule.the wall.url", "../wall")
    tower.commit({"a.txt": "one"})
    bell.commit({"bell.txt": "later"})
    place = await runner(git_source(f"{server.url}/tower", "main", submodules=True))
    assert "stone" == (place / "parts/wall/wall.txt").read_text()
    assert "dong" == (place / "parts/wall/bell/bell.txt").read_text()
    assert inner == head(place / "parts/wall/bell")
    assert "" == git(place, "status", "--porcelain")
    assert git(place, "submodule", "status").split()[1] == "parts/wall"
    without = await runner(git_source(f"{server.url}/tower", "main"))
    assert not list((without / "parts/wall").iterdir())


async def test_a_submodule_is_never_a_repository_of_the_runner_s_machine(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    private = Repository(tower.path.parent.parent / "private")
    private.commit({"secret.txt": "…"})
    tower.git("submodule", "--quiet", "add", str(private.path), "private")
    tower.commit({})
    source = git_source(f"{server.url}/tower", "main", submodules=True)
    execution, reason = await refused(runner, source)
    assert Execution.CONFIGURATION is execution
    assert "submodule 'private' would be a repository of the runner's machine" == reason


async def test_repositories_of_both_forms_of_names_are_fetched(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    long = Repository(tower.path.parent / "long", "--object-format=sha256")
    commit = long.commit({"a.txt": "one"})
    assert 64 == len(commit)
    for revision in (commit, "main"):
        assert commit == head(await runner(git_source(f"{server.url}/long", revision)))


async def test_several_sources_each_have_a_place(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    url = f"{server.url}/tower"
    place = await runner(
        git_source(url, "main", path="vendor/copy"),
        git_source(url, "main"),
        git_source(url, "main", path="b"),
    )
    for name in ("a.txt", "b/a.txt", "vendor/copy/a.txt"):
        assert "one" == (place / name).read_text()


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ((".", "./"), "two sources go to '.'"),
        (("a", "a/"), "two sources go to 'a'"),
        ((".", "a.txt"), "another source has something else there"),
        ((".", "deep"), "something is there already"),
        ((".", "out/b"), "another source has something else there"),
        (("../a",), "leads out"),
        (("/a",), "leads out"),
        ((".git/hooks",), "what git keeps"),
        ((1,), "`path` is a text"),
    ],
)
async def test_sources_that_collide_are_the_workflow_s_mistake(
    tower: Repository, runner: Fetcher, paths: tuple[object, ...], reason: str
) -> None:
    (tower.path / "out").symlink_to(tower.path.parent)
    tower.commit({"a.txt": "one", "deep/b.txt": "two"})
    sources = [git_source(tower.path, "main", path=path) for path in paths]
    execution, said = await refused(runner, *sources)
    assert Execution.CONFIGURATION is execution
    assert reason in said


# ------------------------------------------------------------------------ what it costs others


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


# --------------------------------------------------------------------------- trouble on the way


async def test_a_server_that_is_busy_is_asked_again(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    server.refuse(2)
    assert commit == head(await runner(git_source(f"{server.url}/tower", "main")))
    assert 2 == server.refused
    assert 2 == runner.log.count("503")
    assert "Try 3 comes in" in runner.log


async def test_a_server_that_stays_away_is_the_infrastructure_s_fault(runner: Fetcher) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        source = git_source(f"http://127.0.0.1:{port}/tower", "main")
        execution, reason = await refused(runner, source, seconds=0.5)
    assert Execution.INFRASTRUCTURE is execution
    assert "tried" in reason or "the time for it is over" in reason
    assert f"http://127.0.0.1:{port}/tower" in reason


async def test_a_server_that_says_nothing_costs_no_more_than_the_time_there_is(
    runner: Fetcher,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = git_source(f"git://127.0.0.1:{silent.getsockname()[1]}/tower", "main")
        execution, reason = await refused(runner, source, seconds=0.3)
    assert Execution.INFRASTRUCTURE is execution
    assert "git .: the time for it is over" == reason


@pytest.mark.parametrize(
    ("revision", "parameters"),
    [
        ("f" * 40, {}),
        ("f" * 64, {"depth": 1}),
        ("f" * 40, {"ref": "refs/pull/1/head"}),
        ("nobody", {}),
        ("abcdef0", {}),
        ("refs/heads/nobody", {"depth": 1}),
        ("main", {"merge": "nobody"}),
    ],
)
async def test_a_revision_that_does_not_exist_is_the_workflow_s_mistake(
    tower: Repository,
    server: GitServer,
    runner: Fetcher,
    revision: str,
    parameters: dict[str, object],
) -> None:
    tower.commit({"a.txt": "one"})
    source = git_source(f"{server.url}/tower", revision, **parameters)
    execution, reason = await refused(runner, source)
    assert Execution.CONFIGURATION is execution
    assert "there is no revision" in reason or "mismatched" in reason


async def test_a_repository_that_does_not_exist_is_the_workflow_s_mistake(
    server: GitServer, runner: Fetcher, tmp_path: Path
) -> None:
    for url in (f"{server.url}/nobody", tmp_path / "nobody"):
        execution, _ = await refused(runner, git_source(url, "main"))
        assert Execution.CONFIGURATION is execution
    assert 1 == server.requests


@pytest.mark.parametrize(
    ("url", "revision"),
    [
        ("--upload-pack=touch {mark}", "main"),
        ("ext::touch {mark}", "main"),
        ("::touch", "main"),
        ("fd::17", "main"),
        ("ssh://-oProxyCommand=touch%20{mark}/x", "main"),
        ("-oProxyCommand=touch:x", "main"),
        ("a@-oProxyCommand=touch:x", "main"),
        ("tower", "main"),
        ("ftp://localhost/x", "main"),
        ("http:///x", "main"),
        ("http://localhost:99999/x", "main"),
        ("{tower}", "--upload-pack=touch {mark}"),
        ("{tower}", "main:other"),
        ("{tower}", "+main"[1:] + "^"),
        ("{tower}", "refs/heads/*"),
    ],
)
async def test_what_would_be_an_option_or_a_program_is_refused(
    tower: Repository, runner: Fetcher, tmp_path: Path, url: str, revision: str
) -> None:
    tower.commit({"a.txt": "one"})
    mark = tmp_path / "mark"
    source = git_source(url.format(mark=mark, tower=tower.path), revision.format(mark=mark))
    execution, _ = await refused(runner, source)
    assert Execution.CONFIGURATION is execution
    assert not mark.exists()


async def test_parameters_that_nobody_knows_are_the_workflow_s_mistake(
    tower: Repository, runner: Fetcher
) -> None:
    for parameters in ({"dept": 1}, {"depth": 0}, {"submodules": "yes"}):
        execution, reason = await refused(runner, git_source(tower.path, "main", **parameters))
        assert Execution.CONFIGURATION is execution
        assert next(iter(parameters)) in reason


async def test_what_is_secret_in_a_url_is_shown_to_nobody(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    url = server.url.replace("//", "//ann:hunter2@")
    place = await runner(git_source(f"{url}/tower", "main"))
    assert "hunter2" not in (place / ".git/config").read_text()
    _, absent = await refused(runner, git_source(f"{url}/tower", "nobody"))
    server.refuse(1000)
    _, away = await refused(runner, git_source(f"{url}/tower", "main"), seconds=0.3)
    assert "hunter2" not in runner.log + absent + away
    held = [file for file in runner.mirrors.rglob("*") if file.is_file()]
    assert not [file for file in held if b"hunter2" in file.read_bytes()]


async def test_nobody_s_settings_and_hooks_are_obeyed(
    tower: Repository, runner: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (hooks / "post-checkout").chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[core]\nhooksPath = {hooks}\n[init]\ntemplateDir = {tmp_path}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    commit = tower.commit({"a.txt": "one"})
    place = await runner(git_source(tower.path, "main"), environment={"GIT_DIR": "/nowhere"})
    monkeypatch.delenv("GIT_DIR")
    assert commit == head(place)
    assert not mark.exists()


# ----------------------------------------------------------------------------- ends and deaths


async def test_an_attempt_that_is_cancelled_leaves_no_process(runner: Fetcher) -> None:
    mark = {"TURNSTILE_TEST_MARK": os.urandom(8).hex()}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/tower"
        fetching = asyncio.create_task(runner(git_source(url, "main"), environment=mark))
        await until(lambda: len(marked(mark)) > 1)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await until(lambda: not marked(mark))


def marked(mark: dict[str, str]) -> list[int]:
    """The processes with a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark.items() <= process.environ().items():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


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
