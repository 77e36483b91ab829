"""The examples in the README run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.postgres.connection import Address

pytestmark = pytest.mark.service

README = (Path(__file__).parents[2] / "README.md").read_text()
OPENING, READING = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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


def test_a_ticket_is_opened_and_read_again_as_the_readme_shows(address: Address) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": address.dsn,
        "TURNSTILE_SCHEMA": address.schema,
        "TURNSTILE_LOG_LEVEL": "error",
    }
    engine = subprocess.Popen(
        [Path(sys.executable).with_name("turnstile"), "engine"], env=environment
    )
    try:
        assert "ticket/9 is at version 1\n" == python(OPENING, environment)
        assert "{'build': 'blocked', 'unit': 'blocked'}\n" == python(READING, environment)
    finally:
        engine.terminate()
        assert 0 == engine.wait(20)
