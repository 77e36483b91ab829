"""`turnstile up` in a directory of its own, with the bundled server: the first minute."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from time import monotonic

import pytest

from tests.journey.command import PATIENCE, TURNSTILE, environment, processes, turnstile
from tests.journey.running import opening, running

pytestmark = pytest.mark.service


def test_an_empty_directory_is_all_that_it_needs(reachable: Path) -> None:
    data = reachable / "up"
    with running(data) as site:
        site.open("9", "build")
        assert 0o600 == (data / "token").stat().st_mode & 0o777
        assert 200 == site.anybody.get("/v1/ready").status_code
        site.process.send_signal(signal.SIGINT)
        assert 0 == site.process.wait(PATIENCE)
    with running(data) as site:
        assert "9" == site.seen("9", 1)["ticket"]
        assert site.open("9", "build")["version"] == 1
        site.process.send_signal(signal.SIGTERM)
        assert 0 == site.process.wait(PATIENCE)
    assert [] == [line for line in processes(data) if "postgres" in line]


def test_it_ends_in_order_while_somebody_listens_to_the_stream(reachable: Path) -> None:
    data = reachable / "up-streams"
    with running(data) as site, site.anybody.stream("GET", "/v1/stream") as stream:
        lines = stream.iter_lines()
        next(lines)
        site.process.send_signal(signal.SIGTERM)
        assert 0 == site.process.wait(PATIENCE)


def test_where_its_address_is_taken_it_says_so(reachable: Path) -> None:
    data = reachable / "up-twice"
    with running(data) as site:
        address = site.url.removeprefix("http://")
        ended = turnstile("up", "--http", address, TURNSTILE_DATA=data)
    assert 69 == ended.returncode
    assert "in use" in ended.stderr


def test_tickets_are_opened_with_nothing_but_the_command_line(
    reachable: Path, tmp_path: Path
) -> None:
    data = reachable / "up-alone"
    path = tmp_path / "ticket.json"
    path.write_text(json.dumps(opening("1", "build")))
    with running(data) as site:
        submitted = subprocess.run(
            [TURNSTILE, "submit", path],
            env=environment(**site.settings()),
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert submitted.stdout.startswith("1  from ")


def test_people_are_told_where_it_is_and_what_they_may_do(reachable: Path) -> None:
    data = reachable / "up-people"
    ours, theirs = os.openpty()
    settings = {"TURNSTILE_HTTP": "127.0.0.1:0", "TURNSTILE_DATA": data}
    with subprocess.Popen([TURNSTILE, "up"], env=environment(**settings), stderr=theirs) as process:
        os.close(theirs)
        with os.fdopen(ours, errors="replace") as terminal:
            said = [terminal.readline() for _ in range(5)]
            process.send_signal(signal.SIGINT)
            assert 0 == process.wait(PATIENCE)
    assert re.match(r"Turnstile listens at http://127\.0\.0\.1:\d+; Ctrl-C ends it\.", said[0])
    assert "/v1/docs" in said[1]
    assert str(data / "token") in said[2]
    assert "turnstile doctor" in said[4]


def test_a_bundled_server_that_dies_is_started_again(reachable: Path) -> None:
    data = reachable / "up-again"
    with running(data) as site:
        site.open("1", "build")
        note = data / "postgres" / "cluster" / "postmaster.pid"
        os.kill(int(note.read_text().split()[0]), signal.SIGKILL)
        deadline = monotonic() + PATIENCE
        while 201 != site.owner.post("/v1/tickets", json=opening("2", "build")).status_code:
            assert monotonic() < deadline
        assert "1" == site.seen("1", 1)["ticket"]
        assert "2" == site.seen("2", 1)["ticket"]
        site.process.terminate()
        assert 0 == site.process.wait(PATIENCE)
