"""The examples in the README run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.command import PATIENCE, TURNSTILE, environment, turnstile
from tests.journey.running import Site

pytestmark = pytest.mark.service

README = (Path(__file__).parents[2] / "README.md").read_text()
OPENING, READING = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
[FIRST] = re.findall(r"```console\n(\$ turnstile up &.*?)```", README, re.DOTALL)
[WORKFLOW] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
OPENED = "ticket 9 is at version 1\nbuild is ready\nunit is blocked\n"


def python(code: str, environment: dict[str, str]) -> str:
    """What the code prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def as_installed(code: str) -> str:
    """The code, where the client's distribution is not installed but lies in the tree."""
    return f"import sys, adapters.client; sys.modules['turnstile'] = adapters.client\n{code}"


def test_a_ticket_is_opened_and_read_again_as_the_readme_shows(site: Site) -> None:
    given = {name: str(value) for name, value in site.configured().items()}
    asks = {**os.environ, "TURNSTILE_URL": site.url, "TURNSTILE_TOKEN": site.token}
    assert OPENED == python(as_installed(OPENING), asks)
    assert OPENED == python(as_installed(OPENING), asks)  # again is no harm
    reading = READING
    if "TURNSTILE_KAFKA" in given:
        reading = READING.replace("adapters.postgres", "adapters.kafka").replace(
            '"DATABASE_URL": os.environ["DATABASE_URL"]',
            '"TURNSTILE_KAFKA": os.environ["TURNSTILE_KAFKA"]',
        )
    assert "{'build': 'blocked', 'unit': 'blocked'}\n" == python(reading, {**os.environ, **given})


def test_the_first_minute_is_what_the_readme_shows(on_postgres: Site, tmp_path: Path) -> None:
    lines = [line.removeprefix("$ ") for line in FIRST.splitlines() if line.startswith("$ ")]
    assert "turnstile up &" == lines.pop(0)
    assert "turnstile doctor" == lines.pop()
    printed = ""
    for line in lines:
        ended = subprocess.run(
            [TURNSTILE, *shlex.split(line)[1:]],
            env=environment(**on_postgres.settings()),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (0, "") == (ended.returncode, ended.stderr), line
        printed += ended.stdout
        if "submit" in line:
            on_postgres.seen("tower-1", 3)
    assert "held: lint: the mirror is away" in printed


def test_the_workflow_that_it_shows_is_one(tmp_path: Path) -> None:
    head = '[subject]\nkind = "commit"\nproject = "tower"\nname = "main"\nrevision = "c0ffee"\n'
    build = (
        '[[tasks]]\nname = "build"\nrun = { kind = "shell", parameters = { command = "make" } }\n'
    )
    file = tmp_path / "ticket.toml"
    file.write_text(head + build + WORKFLOW)
    done = turnstile("submit", "--check", str(file))
    assert (0, "") == (done.returncode, done.stderr)
