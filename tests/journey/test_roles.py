"""Each role alone, as on more than one machine: together they are the service, on each log."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.journey.command import PATIENCE, TURNSTILE, environment
from tests.journey.running import opening

pytestmark = pytest.mark.service

TICKETS = {"older": "superseded", "newer": "queued", "late": "expired"}
OTHERS = ("engine", "projector", "reactor", "reaper")


@contextmanager
def role(name: str, event: str, **settings: object) -> Iterator[str]:
    """The role when it has said this: where it listens, if it does. It ends in order."""
    with subprocess.Popen(
        [TURNSTILE, name], env=environment(**settings), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                told = json.loads(line)
                if told["event"] == event:
                    break
            else:
                raise AssertionError(f"{name} ended")
            Thread(target=process.stderr.read, daemon=True).start()
            yield str(told.get("address", ""))
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(PATIENCE)
        finally:
            process.kill()


@pytest.mark.parametrize("log", ["postgres", "kafka"])
def test_the_roles_apart_are_the_service(
    log: str, postgres_dsn: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings: dict[str, object] = {
        "DATABASE_URL": postgres_dsn,
        "TURNSTILE_SCHEMA": f"t_{uuid4().hex[:12]}",
        "TURNSTILE_DATA": tmp_path,
        "TURNSTILE_HTTP": "127.0.0.1:0",
        "TURNSTILE_PARTITIONS": 3,
    }
    if log == "kafka":
        settings["TURNSTILE_KAFKA"] = request.getfixturevalue("kafka")
        settings["TURNSTILE_KAFKA_TOPICS"] = f"r_{uuid4().hex[:12]}"
    with ExitStack() as running:
        for name in OTHERS:
            running.enter_context(role(name, f"{name}_started", **settings))
        address = running.enter_context(role("api", "api_listens", **settings))
        token = (tmp_path / "token").read_text().strip()
        client = running.enter_context(
            httpx.Client(
                base_url=f"http://{address}/v1",
                headers={"Authorization": f"Bearer {token}"},
                timeout=PATIENCE,
            )
        )
        ends = {"turnstile.ticket.superseded", "turnstile.ticket.expired"}
        with client.stream("GET", "/stream", params={"type": sorted(ends)}) as changes:
            lines = changes.iter_lines()
            next(lines)  # it has begun
            opened(client, opening("older", "build", supersedes={"key": "main", "order": 1}))
            opened(client, opening("newer", "build", supersedes={"key": "main", "order": 2}))
            soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
            opened(client, opening("late", "build", deadline=soon))
            heard: set[str] = set()
            while heard < ends:
                name, _, value = next(lines).partition(": ")
                heard |= {value} if name == "event" else set()
        states = {name: client.get(f"/tickets/{name}").json()["state"] for name in TICKETS}
        assert TICKETS == states


def opened(client: httpx.Client, ticket: dict[str, Any]) -> None:
    """Open it; an engine may be about to take its partitions still."""
    answer = client.post("/tickets", json=ticket)
    while answer.status_code == 504:
        answer = client.post("/tickets", json=ticket)
    assert 201 == answer.status_code, answer.text
