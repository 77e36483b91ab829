"""Workers through the real processes, on each log: seen, drained, resumed, replayed, rebuilt."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.journey.command import turnstile
from tests.journey.running import Site

pytestmark = pytest.mark.service


@pytest.fixture
def worker(site: Site) -> str:
    """A worker that is there, under a name of the test's own."""
    name = f"w-{uuid4().hex[:12]}"
    registered = register(site, name, "s1")
    assert ("available", 1) == (registered["state"], registered["version"])
    return name


def register(site: Site, worker: str, session: str) -> Any:
    body = {"session": session, "home": "rack-2", "capabilities": {"arch": ["arm64"]}, "slots": 4}
    answer = site.owner.put(f"/v1/workers/{worker}", json=body)
    assert 200 == answer.status_code, answer.text
    return answer.json()


def run(site: Site, *arguments: str) -> str:
    ended = turnstile(*arguments, **site.settings())
    assert (0, "") == (ended.returncode, ended.stderr), ended
    return ended.stdout


def seen(site: Site, worker: str, steered: str) -> Any:
    """The worker, once the view has what was done to it."""
    after = json.loads(steered)["after"]
    return site.anybody.get(f"/v1/workers/{worker}", params={"after": after}).json()["worker"]


def test_a_worker_is_listed_shown_drained_and_resumed(site: Site, worker: str) -> None:
    shown = run(site, "worker", "show", worker)
    assert f"{worker}  available since" in shown
    assert "arch=arm64" in shown
    assert "It is at nothing." in shown
    drained = run(site, "worker", "drain", worker, "--reason", "new disks", "--json")
    row = seen(site, worker, drained)
    assert ("draining", "new disks") == (row["state"], row["reason"])
    assert worker in run(site, "worker", "list", "--limit", "1000")
    resumed = run(site, "worker", "resume", worker, "--json")
    assert "available" == seen(site, worker, resumed)["state"]
    assert f"{worker}: draining\n" == run(site, "worker", "drain", worker)
    left = site.owner.post(f"/v1/workers/{worker}/leave", json={"session": "s1"}).text
    assert "gone" == seen(site, worker, left)["state"]
    assert worker not in run(site, "worker", "list", "--limit", "1000")
    rows = run(site, "worker", "list", "--all", "--json", "--limit", "1000").splitlines()
    assert worker in [json.loads(row)["worker"] for row in rows]


def test_its_history_is_told_and_replayed(site: Site, worker: str) -> None:
    register(site, worker, "s2")
    left = site.owner.post(f"/v1/workers/{worker}/leave", json={"session": "s2"}).text
    seen(site, worker, left)
    told = run(site, "history", f"worker/{worker}")
    assert "registered by session s1" in told
    assert "gone, with session s2: it left" in told
    replayed = run(site, "replay", f"worker/{worker}")
    assert f"{worker} is gone then, at version 3." in replayed
    changes = run(site, "replay", f"worker/{worker}", "--diff", "1", "2", "--json").splitlines()
    assert ("session", "s1", "s2") in [
        (change["column"], change["before"], change["after"]) for change in map(json.loads, changes)
    ]


def test_what_is_no_worker_is_said_to_be_none(site: Site) -> None:
    for command in (("show",), ("drain",)):
        ended = turnstile("worker", *command, "nobody", **site.settings())
        assert 66 == ended.returncode
        assert "There is no worker 'nobody'." in ended.stderr
        assert "turnstile worker list --all" in ended.stderr
    assert 66 == turnstile("history", "worker/nobody", **site.settings()).returncode


def test_the_view_is_rebuilt_while_it_is_in_use(site: Site, worker: str) -> None:
    rebuilt = turnstile("rebuild", "workers", **site.configured())
    assert 0 == rebuilt.returncode, rebuilt.stderr
    register(site, worker, "s1")  # nobody has heard of it meanwhile
    assert "available" == site.anybody.get(f"/v1/workers/{worker}").json()["worker"]["state"]
    drained = run(site, "worker", "drain", worker, "--json")
    assert "draining" == seen(site, worker, drained)["state"]
    dropped = turnstile("rebuild", "workers", "--drop-old", **site.configured())
    assert "The old view is dropped." in dropped.stdout
