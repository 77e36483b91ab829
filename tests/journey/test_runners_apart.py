"""A runner that was away for too long, and two of one name: never are there two at one thing."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.journey.a_runner import Runner, eventually, is_gone, runner
from tests.journey.command import PATIENCE, turnstile
from tests.journey.running import Site, problem, running

pytestmark = pytest.mark.service

LEASE = 2.0
CONFLICT = 73


@pytest.fixture(scope="module", params=["postgres", "kafka"])
def service(
    request: pytest.FixtureRequest, postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A service of these tests' own: whatever waits there is for their runners."""
    settings = {"DATABASE_URL": postgres_dsn, "TURNSTILE_SCHEMA": f"t_{uuid4().hex[:12]}"}
    if request.param == "kafka":
        settings["TURNSTILE_KAFKA"] = request.getfixturevalue("kafka")
        settings["TURNSTILE_KAFKA_TOPICS"] = f"j_{uuid4().hex[:12]}"
    with running(tmp_path_factory.mktemp("data"), **settings) as site:
        yield site


@pytest.fixture
def worker() -> str:
    """The name of a worker of the test's own."""
    return f"w-{uuid4().hex[:12]}"


def open_task(site: Site, ticket: str, command: str) -> None:
    """A ticket of one task, which is not tried again."""
    task = {
        "name": "A",
        "run": {"kind": "shell", "parameters": {"command": command}},
        "retries": 0,
        "timeouts": {"heartbeat": LEASE},
    }
    site.open(ticket, tasks=[task])


def task_at_work(tmp_path: Path, ticket: str) -> tuple[str, Path]:
    """A command that lasts, and the file in which it says its number and its credential."""
    file = tmp_path / f"{ticket}.said"
    said = f'echo "$$ $TURNSTILE_TOKEN" > {file}.new; mv {file}.new {file}'
    return f"{said}; exec sleep 600", file


def of(file: Path) -> tuple[int, str]:
    """What a command has said, when it has."""
    eventually(file.exists)
    number, credential = file.read_text().split()
    return int(number), credential


def attempts(site: Site, ticket: str) -> list[Any]:
    rows = site.anybody.get(f"/v1/tickets/{ticket}/attempts").json()["rows"]
    assert isinstance(rows, list)
    return rows


def ended(site: Site, ticket: str) -> Any:
    """The ticket, once it has ended."""
    return eventually(
        lambda: next(
            (
                row
                for row in [site.anybody.get(f"/v1/tickets/{ticket}").json()]
                if row.get("ended_at")
            ),
            None,
        )
    )


def session_of(site: Site, worker: str) -> str:
    return str(site.anybody.get(f"/v1/workers/{worker}").json()["worker"]["session"])


def ends(one: Runner) -> int:
    """Its exit status."""
    return one.process.wait(PATIENCE)


def test_a_runner_that_was_paused_beyond_its_lease_changes_nothing(
    service: Site, worker: str, tmp_path: Path
) -> None:
    lasts, ends_meanwhile, later = (f"{worker}-{n}" for n in range(3))
    command, file = task_at_work(tmp_path, lasts)
    gate = tmp_path / "gate"
    open_task(service, lasts, command)
    open_task(service, ends_meanwhile, f"until [ -e {gate} ]; do sleep 0.1; done")
    with runner(service, worker, tmp_path / "w1", "--slots", "2") as paused:
        number, credential = of(file)
        eventually(lambda: [one for one in attempts(service, ends_meanwhile) if one["started_at"]])
        paused.process.send_signal(SIGSTOP)
        gate.touch()  # what it runs ends while it is paused
        before = {ticket: ended(service, ticket) for ticket in (lasts, ends_meanwhile)}
        assert {"errored"} == {ticket["state"] for ticket in before.values()}
        assert not is_gone(number)
        paused.process.send_signal(SIGCONT)
        eventually(lambda: is_gone(number))
        eventually(lambda: not any((tmp_path / "w1" / "work").iterdir()))
        eventually(lambda: not any((tmp_path / "w1" / "reports").iterdir()))
        for ticket, was in before.items():
            now = service.anybody.get(f"/v1/tickets/{ticket}").json()
            assert "errored" == now["state"]
            assert was["ended_at"] == now["ended_at"]
            [attempt] = attempts(service, ticket)
            assert "lease_lost" == attempt["ended"]
            assert attempt["log"] is None
        [attempt] = attempts(service, lasts)
        late = httpx.post(
            f"{service.url}/v1/tickets/{lasts}/attempts/{attempt['token']}/report",
            json={"outcome": "passed"},
            headers={"Authorization": f"Bearer {credential}"},
            timeout=PATIENCE,
        )
        assert (409, "stale-token", None) == problem(late)
        eventually(lambda: attempts(service, lasts)[0]["refused"])
        told = turnstile("history", lasts, **service.settings()).stdout
        assert "the lease ran out" in told
        assert "reported too late and was refused" in told
        open_task(service, later, "true")  # it goes on with what is its own
        assert "passed" == ended(service, later)["state"]


def test_a_second_runner_of_a_name_waits_for_the_end_of_the_first(
    service: Site, worker: str, tmp_path: Path
) -> None:
    with runner(service, worker, tmp_path / "first") as first:
        first.says("registered")
        session = session_of(service, worker)
        with runner(service, worker, tmp_path / "second") as second:
            second.says("name_taken")
            assert session == session_of(service, worker)
            assert not second.said("registered")
            first.process.send_signal(SIGTERM)
            assert 0 == ends(first)
            second.says("registered")
            assert session != session_of(service, worker)
            open_task(service, f"{worker}-1", "true")
            assert "passed" == ended(service, f"{worker}-1")["state"]


def test_a_runner_of_the_same_home_takes_over_and_the_first_one_ends_its_work(
    service: Site, worker: str, tmp_path: Path
) -> None:
    command, file = task_at_work(tmp_path, f"{worker}-1")
    open_task(service, f"{worker}-1", command)
    with runner(service, worker, tmp_path / "first") as first:
        number, _ = of(file)
        home = (tmp_path / "first" / "id").read_text()
        newer = {"session": "newer", "home": home}
        registered = service.owner.put(f"/v1/workers/{worker}", json=newer)
        assert 200 == registered.status_code, registered.text
        assert CONFLICT == ends(first), first.text
        assert is_gone(number)
        assert not any((tmp_path / "first" / "reports").iterdir())
        assert "errored" == ended(service, f"{worker}-1")["state"]
        told = turnstile("history", f"{worker}-1", **service.settings()).stdout
        assert "its runner was started anew" in told
        assert "newer" == session_of(service, worker)


def test_two_runners_do_not_have_one_directory(service: Site, worker: str, tmp_path: Path) -> None:
    with runner(service, worker, tmp_path / "w1") as first:
        first.says("registered")
        with runner(service, f"{worker}-2", tmp_path / "w1") as second:
            assert CONFLICT == ends(second)
        assert first.process.poll() is None
