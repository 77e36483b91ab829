"""`turnstile demo`: it shows what it promises, checks it, and leaves nothing behind."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

import pytest

from adapters.postgres.connection import Address, connect
from tests.journey.command import PATIENCE, TURNSTILE, environment, processes, turnstile

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

Completed = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def place(reachable: Path) -> Path:
    """A directory for temporary files, for these tests alone."""
    place = reachable / f"demo-{uuid4().hex[:8]}"
    place.mkdir()
    place.chmod(0o711)
    return place


@pytest.fixture(scope="module")
def shown(place: Path) -> Completed:
    return turnstile("demo", TMPDIR=place)


def until(happens: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not (happened := happens()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened


@contextmanager
def playing(place: Path) -> Iterator["subprocess.Popen[str]"]:
    """The demonstration, at the moment at which the engine has been killed."""
    with subprocess.Popen(
        [TURNSTILE, "demo"],
        env=environment(TMPDIR=place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        try:
            assert demo.stdout is not None
            line_with(demo.stdout, "engine-b    starts")
            yield demo
        finally:
            demo.kill()


def line_with(output: IO[str], words: str) -> str:
    for line in output:
        if words in line:
            return line
    raise AssertionError(f"it never said {words!r}")


# ----------------------------------------------------------------------------- what it shows


def test_it_shows_what_it_must(shown: Completed) -> None:
    assert (0, "") == (shown.returncode, shown.stderr), shown.stdout


def test_the_engine_is_killed_and_nobody_answers(shown: Completed) -> None:
    assert "in the same moment engine-a is gone" in shown.stdout
    assert "nobody      answers within 1 s" in shown.stdout


def test_another_engine_takes_over_and_gives_the_one_answer(shown: Completed) -> None:
    assert "engine-b    takes over, folds 11 events" in shown.stdout
    assert "sent the same claim again and has lint: token 12" in shown.stdout
    assert "asks once more, and hears the same: token 12" in shown.stdout
    claims = re.findall(r" lint: attempt .* claimed .*", shown.stdout)
    assert 1 == len(claims)


def test_a_late_report_is_refused_and_history_tells(shown: Completed) -> None:
    assert "refused (stale-token): Token 10 is not that of the present attempt" in shown.stdout
    assert "unit: attempt 1 (worker-1, token 10) reported too late and was refused" in shown.stdout


def test_the_history_tells_why_a_task_was_tried_again(shown: Completed) -> None:
    assert "to be tried again (execution infrastructure): no space left on device" in shown.stdout
    assert "build: attempt 2 (worker-2, token 6) claimed for 60 s" in shown.stdout


def test_the_ticket_passes_and_all_checks_hold(shown: Completed) -> None:
    assert re.search(r"^.* 23  worker-2  the ticket passed$", shown.stdout, re.MULTILINE)
    assert 5 == len(re.findall("^✓ ", shown.stdout, re.MULTILINE))
    assert "✗" not in shown.stdout


def test_it_tells_where_to_look_next(shown: Completed) -> None:
    assert "Where to look next" in shown.stdout
    root = Path(__file__).parents[2]
    for path in re.findall(r"^  (\w+/[\w/]+\.py) ", shown.stdout, re.MULTILINE):
        assert (root / path).is_file()


def test_what_is_no_terminal_gets_plain_lines(shown: Completed) -> None:
    assert "\x1b" not in shown.stdout


# ------------------------------------------------------------------------- what it leaves behind


def test_it_leaves_neither_a_process_nor_a_file(shown: Completed, place: Path) -> None:
    assert shown.returncode == 0
    assert [] == processes(place)
    assert [] == list(place.iterdir())


def test_what_is_to_be_kept_is_kept(place: Path) -> None:
    kept = turnstile("demo", "--keep", TMPDIR=place)
    (folder,) = place.iterdir()
    assert 0 == kept.returncode
    assert f"TURNSTILE_DATA={folder} turnstile engine" in kept.stdout
    assert {"engine-a.log", "engine-b.log", "postgres"} == {each.name for each in folder.iterdir()}
    assert [] == processes(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_either(reachable: Path, number: signal.Signals) -> None:
    own = reachable / f"demo-{number.name}"
    own.mkdir()
    own.chmod(0o711)
    with playing(own) as demo:
        assert processes(own)
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=PATIENCE)
    assert (128 + number, "turnstile: stopped; nothing was left running\n") == (
        demo.returncode,
        errors,
    )
    assert [] == processes(own)
    assert [] == list(own.iterdir())


def test_killed_it_takes_its_processes_with_it(reachable: Path) -> None:
    own = reachable / "demo-killed"
    own.mkdir()
    own.chmod(0o711)
    with playing(own) as demo:
        assert any("workers.child" in process for process in processes(own))
        assert any("postgres" in process for process in processes(own))
        demo.kill()
        demo.communicate(timeout=PATIENCE)
    assert until(lambda: not processes(own)), processes(own)


async def test_in_a_database_of_ones_own_it_leaves_no_schema(
    postgres_dsn: str, place: Path
) -> None:
    shown = turnstile("demo", DATABASE_URL=postgres_dsn, TMPDIR=place)
    assert (0, "") == (shown.returncode, shown.stderr), shown.stdout
    (schema,) = re.findall(r"schema (demo_\w+)", shown.stdout)
    connection = await connect(Address(postgres_dsn))
    try:
        schemas = await connection.fetch("SELECT nspname FROM pg_namespace")
    finally:
        await connection.close()
    assert schema not in {row["nspname"] for row in schemas}


# ---------------------------------------------------------------------------- when it goes wrong


def test_without_its_database_it_fails_with_one_line(place: Path) -> None:
    failed = turnstile("demo", DATABASE_URL="postgres://u:secret@127.0.0.1:1/db", TMPDIR=place)
    assert 1 == failed.returncode
    (line,) = failed.stderr.splitlines()
    assert line.startswith("turnstile: the demonstration failed: PostgreSQL: ")
    assert "(DATABASE_URL=postgres://u:***@127.0.0.1:1/db)" in line


def test_an_engine_that_ends_by_itself_is_told_with_the_end_of_its_log(place: Path) -> None:
    failed = turnstile("demo", TURNSTILE_WATCHDOG="0.001", TMPDIR=place)
    assert 1 == failed.returncode
    assert "failed: engine-a ended by itself, with status 70" in failed.stderr
    assert "The end of engine-a.log:" in failed.stderr
    assert '"event":"stuck"' in failed.stderr
    assert [] == processes(place)
