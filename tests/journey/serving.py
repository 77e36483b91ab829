"""An engine or another role, as a service manager starts it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.journey.command import TURNSTILE, environment


@contextmanager
def serving(**settings: object) -> Iterator["subprocess.Popen[str]"]:
    """An engine that has all of its three partitions; killed in the end."""
    with subprocess.Popen(
        [TURNSTILE, "engine"],
        env=environment(TURNSTILE_PARTITIONS=3, **settings),
        stderr=subprocess.PIPE,
        text=True,
    ) as engine:
        try:
            assert engine.stderr is not None
            taken: set[int] = set()
            for line in engine.stderr:
                said = json.loads(line)
                if said["event"] == "taken_over":
                    taken.add(said["partition"])
                if taken == {0, 1, 2}:
                    break
            assert {0, 1, 2} == taken
            yield engine
        finally:
            engine.kill()


@contextmanager
def playing(role: str, **settings: object) -> Iterator["subprocess.Popen[str]"]:
    """A process of the role that has started; killed in the end."""
    with subprocess.Popen(
        [TURNSTILE, role], env=environment(**settings), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = (json.loads(line)["event"] for line in process.stderr)
            assert any(event == f"{role}_started" for event in said)
            yield process
        finally:
            process.kill()
