"""`turnstile log` and `turnstile artifacts`, as somebody asks for them in a shell."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.postgres.connection import Address
from tests.journey.command import PATIENCE, TURNSTILE, environment
from tests.service.attempt_site import Site, at_work
from workers.runner.artifacts import collect, store

pytestmark = pytest.mark.service


class Shell:
    """Where somebody asks a service."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder

    async def ask(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """What is answered."""
        return await asyncio.to_thread(self._run, words)

    def _run(self, words: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [TURNSTILE, *words],
            env=environment(TURNSTILE_URL=self.site.api.url, TURNSTILE_DATA=self.folder),
            cwd=self.folder,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )


@pytest_asyncio.fixture
async def shell(address: Address, tmp_path: Path) -> AsyncIterator[Shell]:
    async with at_work(address, tmp_path / "data") as site:
        yield Shell(site, tmp_path)


async def test_a_log_is_printed_byte_for_byte_or_its_end_or_as_it_grows(shell: Shell) -> None:
    said = b"".join(b"\xffline %d\r\n" % n for n in range(20_000))
    async with shell.site.attempt() as attempt:
        await attempt.own.append_log(0, said)
        await shell.site.claimed(attempt)
        printed, tail, nothing = await asyncio.gather(
            shell.ask("log", "t", "A"),
            shell.ask("log", "t", "A", "--attempt", "1", "--tail", "3"),
            shell.ask("log", "t", "A", "--tail", "0"),
        )
        assert (0, said) == (printed.returncode, printed.stdout), printed.stderr
        assert b"".join(said.splitlines(keepends=True)[-3:]) == tail.stdout
        assert (0, b"") == (nothing.returncode, nothing.stdout)
        following = asyncio.create_task(shell.ask("log", "t", "A", "--tail", "1", "--follow"))
        await attempt.own.append_log(len(said), b"more\n", last=True)
        assert (await following).stdout.endswith(b"more\n")


async def test_what_is_not_there_is_said_to_be_missing(shell: Shell) -> None:
    which, none, no_task = await asyncio.gather(
        shell.ask("log", "t"), shell.ask("log", "t", "A"), shell.ask("artifacts", "u", "A")
    )
    assert [65, 66, 66] == [one.returncode for one in (which, none, no_task)]
    assert b"They are: A, brief, boundless" in which.stderr
    assert b"there is no attempt at task 'A'" in none.stderr


async def test_a_log_that_has_not_begun_is_waited_for(shell: Shell) -> None:
    following = asyncio.create_task(shell.ask("log", "t", "A", "--follow"))
    await asyncio.wait([following], timeout=3)
    assert not following.done(), following.result()
    async with shell.site.attempt() as attempt:
        await asyncio.wait([following], timeout=1)
        assert not following.done(), following.result()
        await attempt.own.append_log(0, b"at last\n", last=True)
        assert (0, b"at last\n") == ((await following).returncode, following.result().stdout)


async def test_a_task_that_is_not_there_is_named(shell: Shell) -> None:
    asked = (("log", "t", "x"), ("log", "t", "x", "-f"), ("revoke", "t", "x"))
    for ended in await asyncio.gather(*(shell.ask(*words) for words in asked)):
        assert (66, b"turnstile: the ticket has no task 'x'\n") == (ended.returncode, ended.stderr)


async def test_artifacts_are_listed_and_fetched(shell: Shell) -> None:
    work = shell.folder / "work"
    await asyncio.to_thread(furnish, work)
    artifacts = collect(work, ["**/*"]).artifacts
    async with shell.site.attempt() as attempt:
        await store(attempt.own, work, artifacts)
        await shell.site.reported(attempt, *artifacts)
    listed, one, everything = await asyncio.gather(
        shell.ask("artifacts", "t", "A"),
        shell.ask("artifacts", "t", "A", "--get", "dist/a"),
        shell.ask("artifacts", "t", "A", "--all", "-o", "all"),
    )
    assert all(each.digest.encode() in listed.stdout for each in artifacts)
    assert b"dist/a\n" == one.stdout
    assert b"all/b\nall/dist/a\n" == everything.stdout
    got = [shell.folder / name for name in ("dist/a", "all/dist/a", "all/b")]
    assert [b"first", b"first", b"second"] == [file.read_bytes() for file in got]


def furnish(work: Path) -> None:
    (work / "dist").mkdir(parents=True)
    (work / "dist/a").write_bytes(b"first")
    (work / "b").write_bytes(b"second")
