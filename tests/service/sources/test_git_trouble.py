"""Git sources that cannot be fetched: whose fault it is, and what nobody is told."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from domain.ticket.words import Execution
from tests.service.sources.repositories import (
    Fetcher,
    Repository,
    git_source,
    head,
    marked,
    refused,
    until,
)
from workers.demo.git_server import GitServer

pytestmark = pytest.mark.service


async def test_a_server_that_is_busy_is_asked_again(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    commit = tower.commit({"a.txt": "one"})
    server.refuse(2)
    assert commit == head(await runner(git_source(f"{server.url}/tower", "main")))
    assert 2 == server.refused
    assert 2 == runner.log.count("503")
    assert "Try 3 comes in" in runner.log


@pytest.mark.parametrize(
    ("parameters", "tried"), [({}, "3 times"), ({"tries": 1}, "once"), ({"tries": 2}, "2 times")]
)
async def test_a_server_that_stays_busy_is_asked_as_often_as_the_source_says(
    tower: Repository,
    server: GitServer,
    runner: Fetcher,
    parameters: dict[str, int],
    tried: str,
) -> None:
    tower.commit({"a.txt": "one"})
    server.refuse(10, "tower")
    source = git_source(f"{server.url}/tower", "main", **parameters)
    execution, reason = await refused(runner, source)
    assert Execution.INFRASTRUCTURE is execution
    assert f"503 (tried {tried})" in reason
    assert parameters.get("tries", 3) == server.refused


@pytest.mark.parametrize("tries", [0, "often", 101])
async def test_how_often_a_source_is_asked_for_is_a_number(
    server: GitServer, runner: Fetcher, tries: object
) -> None:
    source = git_source(f"{server.url}/tower", "main", tries=tries)
    execution, reason = await refused(runner, source)
    assert Execution.CONFIGURATION is execution
    assert "tries" in reason
    assert 0 == server.requests


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
        ("{tower}", "main^"),
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
