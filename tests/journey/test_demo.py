"""`turnstile demo`: it shows what it promises, checks it, and leaves nothing behind."""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import click
import httpx
import pytest

from adapters.kafka.connection import Address as KafkaAddress
from adapters.kafka.connection import running as asking
from adapters.postgres.connection import Address, connect
from tests.journey.command import PATIENCE, TURNSTILE, environment, processes
from tests.journey.running import running
from workers.cli import main

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

Completed = subprocess.CompletedProcess[str]

ROOT = Path(__file__).parents[2]

WHOLE = 240.0
"""Seconds for all of it, where others use the machine."""


@pytest.fixture
def place(reachable: Path) -> Path:
    """A directory for temporary files, for one test alone."""
    return made(reachable)


def made(reachable: Path) -> Path:
    place = reachable / f"demo-{uuid4().hex[:8]}"
    place.mkdir()
    place.chmod(0o711)
    return place


def demo(*options: str, directory: Path = ROOT, **settings: object) -> Completed:
    return subprocess.run(
        [TURNSTILE, "demo", *options],
        cwd=directory,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=WHOLE,
    )


@pytest.fixture(scope="module")
def kept(reachable: Path) -> Path:
    """Where what is kept lies."""
    return made(reachable)


@pytest.fixture(scope="module")
def shown(kept: Path) -> Completed:
    """What it shows where PostgreSQL keeps the log; its data is kept."""
    return demo("--keep", TMPDIR=kept)


def until(happens: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not (happened := happens()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened


@contextmanager
def playing(place: Path, **settings: object) -> Iterator["subprocess.Popen[str]"]:
    """The demonstration, at the moment at which a runner has taken its first task."""
    with subprocess.Popen(
        [TURNSTILE, "demo"],
        cwd=ROOT,
        env=environment(TMPDIR=place, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as playing:
        try:
            assert playing.stdout is not None
            assert any("takes domain" in line for line in playing.stdout)
            yield playing
        finally:
            playing.kill()


def holds(shown: Completed) -> None:
    """The ticket went through what it must, and everything that is checked is true."""
    assert (0, "") == (shown.returncode, shown.stderr), shown.stdout + shown.stderr
    assert 7 == len(re.findall("^✓ ", shown.stdout, re.MULTILINE))
    assert "✗" not in shown.stdout
    assert "ticket      the ticket passed" in shown.stdout


def left_nothing(place: Path) -> None:
    """Neither a process nor a file is left of what lived there."""
    assert [] == processes(place)
    assert [] == list(place.iterdir())


# ----------------------------------------------------------------------------- what it shows


def test_it_shows_what_it_must(shown: Completed) -> None:
    holds(shown)


def test_a_runner_is_killed_and_another_attempt_passes(shown: Completed) -> None:
    assert re.search(r"kill -9 .* in the middle of domain runner-\d is gone", shown.stdout)
    assert re.search(
        r"domain: attempt 1 \(.*\) lost: the lease ran out\n"
        r"(.*\n)*.*domain: attempt 2 .* claimed for 5 s, after lease_lost\n"
        r"(.*\n)*.*domain: attempt 2 .* passed \(execution ok, outcome passed\)",
        shown.stdout,
    )


def test_a_busy_git_server_is_the_infrastructures_fault(shown: Completed) -> None:
    assert re.search(
        r"imports: attempt 1 .* to be tried again \(execution infrastructure\): .* 503",
        shown.stdout,
    )
    assert re.search(r"imports: attempt 2 .* claimed for 5 s, after task_retried", shown.stdout)


def test_results_artifacts_and_a_log_are_shown(shown: Completed) -> None:
    assert re.search(r"^  lint/check +passed +\d+\.\d s  exit status 0$", shown.stdout, re.M)
    assert re.search(r"^  short/command +failed +\d+\.\d s  exit status 1$", shown.stdout, re.M)
    assert re.search(r"^  domain/report.xml +\d+ bytes", shown.stdout, re.M)
    assert re.search(r"^  \d{3} tests; the slowest 5:$", shown.stdout, re.MULTILINE)


def test_it_tells_where_to_look_next(shown: Completed) -> None:
    _, _, told = shown.stdout.partition("Where to look next")
    paths = re.findall(r"^  ([\w/]+\.(?:py|toml|md)) ", told, re.MULTILINE)
    assert 3 == len(paths)
    assert [] == [path for path in paths if not (ROOT / path).is_file()]


def test_every_command_that_it_shows_is_one(shown: Completed) -> None:
    commands = re.findall(r"^ *turnstile (.+?)(?:  .*| \(.*\))?$", shown.stdout, re.MULTILINE)
    assert 6 == len(commands), commands
    for command in commands:
        name, *words = shlex.split(command)
        known = main.get_command(click.Context(main), name)
        assert known is not None, command
        known.make_context(name, words)  # raises UsageError


def test_what_is_no_terminal_gets_plain_lines(shown: Completed) -> None:
    assert "\x1b" not in shown.stdout


def test_what_is_kept_can_be_looked_at(shown: Completed, kept: Path) -> None:
    (folder,) = kept.iterdir()
    assert f"TURNSTILE_DATA={folder} turnstile up" in shown.stdout
    assert [] == processes(kept)
    (ticket,) = re.findall(r"^turnstile history (\S+)$", shown.stdout, re.MULTILINE)
    with running(folder) as site:
        row = httpx.get(f"{site.url}/v1/tickets/{ticket}").raise_for_status().json()
    assert "passed" == row["state"]


# ------------------------------------------------------------------------- what it leaves behind


async def test_on_kafka_it_shows_the_same_and_leaves_nothing(kafka: str, place: Path) -> None:
    holds(demo(TURNSTILE_KAFKA=kafka, TMPDIR=place))
    left_nothing(place)
    async with asking(KafkaAddress(kafka).admin()) as admin:
        topics = set(await admin.list_topics())
    assert not {topic for topic in topics if topic.startswith("demo")}


async def test_interrupted_it_leaves_nothing_either(postgres_dsn: str, place: Path) -> None:
    with playing(place, DATABASE_URL=postgres_dsn) as demo:
        assert processes(place)
        demo.send_signal(signal.SIGINT)
        told, errors = demo.communicate(timeout=PATIENCE)
    assert 128 + signal.SIGINT == demo.returncode, told + errors
    assert "turnstile: stopped; nothing was left running\n" == errors
    left_nothing(place)
    connection = await connect(Address(postgres_dsn))
    try:
        schemas = await connection.fetch("SELECT nspname FROM pg_namespace")
    finally:
        await connection.close()
    assert not [row["nspname"] for row in schemas if row["nspname"].startswith("demo_")]


def test_killed_it_takes_its_processes_with_it(place: Path) -> None:
    with playing(place) as demo:
        there = processes(place)
        assert any("workers.child" in process for process in there)
        assert any("postgres" in process for process in there)
        demo.kill()
        demo.communicate(timeout=PATIENCE)
    assert until(lambda: not processes(place)), processes(place)


# ---------------------------------------------------------------------------- when it goes wrong


def test_outside_of_its_repository_it_fails_with_one_line(tmp_path: Path) -> None:
    failed = demo(directory=tmp_path)
    assert 1 == failed.returncode
    (line,) = failed.stderr.splitlines()
    assert line.startswith("turnstile: the demonstration failed: ")
    assert "the repository of Turnstile" in line


def test_without_its_database_it_fails_with_one_line(place: Path) -> None:
    failed = demo(DATABASE_URL="postgres://u:secret@127.0.0.1:1/db", TMPDIR=place)
    assert 1 == failed.returncode
    (line,) = failed.stderr.splitlines()
    assert line.startswith("turnstile: the demonstration failed: PostgreSQL: ")
    assert "(DATABASE_URL=postgres://u:***@127.0.0.1:1/db)" in line


def test_a_service_that_ends_by_itself_is_told_with_the_end_of_its_log(place: Path) -> None:
    failed = demo(TURNSTILE_WATCHDOG="0.001", TMPDIR=place)
    assert 1 == failed.returncode
    assert "failed: service ended by itself, with status 70" in failed.stderr
    assert "The end of service.log:" in failed.stderr
    assert '"event":"stuck"' in failed.stderr
    assert [] == processes(place)
