"""Git sources: what lands in the work directory."""

import pytest

from adapters.sources import Local
from domain.ticket.words import Execution
from tests.service.sources.repositories import (
    Fetcher,
    Repository,
    git,
    git_source,
    head,
    refused,
)
from workers.demo.git_server import GitServer

pytestmark = pytest.mark.service


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
        assert ("one" if commit == first else "two") == (place / "a.txt").read_text()


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


async def test_a_depth_is_the_length_of_the_history_that_is_fetched(
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


async def test_a_submodule_is_of_this_machine_only_from_where_sources_are(
    tower: Repository, runner: Fetcher
) -> None:
    private = Repository(tower.path.parent.parent / "private")
    private.commit({"secret.txt": "…"})
    tower.git("submodule", "--quiet", "add", str(private.path), "private")
    for url in (str(private.path), "../../private"):
        tower.git("config", "--file", ".gitmodules", "submodule.private.url", url)
        tower.commit({})
        source = git_source(tower.path, "main", submodules=True)
        execution, reason = await refused(runner, source, local=Local([tower.path.parent]))
        assert Execution.CONFIGURATION is execution
        assert "turnstile runner --local DIR" in reason


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


async def test_a_ref_says_where_a_commit_is_found(
    tower: Repository, server: GitServer, runner: Fetcher
) -> None:
    tower.commit({"a.txt": "one"})
    change = tower.commit({"a.txt": "two"})
    tower.git("update-ref", "refs/pull/1/head", change)
    tower.git("reset", "--quiet", "--hard", "HEAD^")
    for parameters in ({}, {"depth": 1}):
        source = git_source(f"{server.url}/tower", change, ref="refs/pull/1/head", **parameters)
        assert change == head(await runner(source))
        assert "refs/pull/1/head" in runner.log
