"""What processes log of an error: where it was, and not what was in the variables."""

import subprocess
import sys

import pytest

FAILS = """
import structlog
from adapters.config import Config
from workers.logs import configure

configure(Config(log_format={format!r}))
secret = "hunter" + "2"
try:
    {{}}[len(secret)]
except KeyError as error:
    structlog.get_logger().critical("attempt_failed", exc_info=error)
"""


@pytest.mark.parametrize("format", ["console", "json"])
def test_an_error_is_logged_without_what_was_in_the_variables(format: str) -> None:
    script = FAILS.format(format=format)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "KeyError: 7" in done.stderr
    assert "hunter2" not in done.stderr
