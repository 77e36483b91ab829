"""Tasks that mean no good, through a real service and a real runner."""

from typing import Any
from uuid import uuid4

import pytest

from tests.journey.command import turnstile
from tests.journey.running import Site

pytestmark = pytest.mark.service


def ran(site: Site, command: str, **parameters: Any) -> tuple[Any, str]:
    """The ticket of one task, once a runner of its own has run it, and its log."""
    ticket = worker = f"h-{uuid4().hex[:12]}"
    task = {
        "name": "A",
        "run": {"kind": "shell", "parameters": {"command": command, **parameters}},
        "requires": {"worker": [worker]},
    }
    site.open(ticket, tasks=[task])
    given = {**site.settings(), "TURNSTILE_TOKEN": site.token}
    ended = turnstile("runner", "--name", worker, "--only", "worker", "--once", **given)
    assert 0 == ended.returncode, ended.stderr
    shown = site.seen(ticket, 6)
    return shown, site.anybody.get(f"/v1/tickets/{ticket}/tasks/A/log").text


def test_who_reads_a_log_does_not_learn_the_credential_of_its_attempt(site: Site) -> None:
    shown, log = ran(site, "test -n $TURNSTILE_TOKEN; env")
    assert "passed" == shown["state"]
    assert "TURNSTILE_TOKEN=***" in log
    assert "turnstile_attempt_" not in log


def test_a_tree_deeper_than_any_path_costs_its_task_nothing(site: Site) -> None:
    shown, _ = ran(site, "for n in $(seq 1500); do mkdir d && cd -P d 2>/dev/null; done")
    assert "passed" == shown["state"]


def test_a_report_that_no_event_holds_ends_the_attempt(site: Site) -> None:
    folder = "/".join("xyz"[n] * 250 for n in range(3))
    command = f"mkdir -p {folder}; cd {folder}; seq 300 | xargs touch"
    shown, log = ran(site, command, artifacts=["**/*"])
    assert "errored" == shown["state"]
    assert "the names of the artifacts are longer than" in log


def test_a_task_has_nothing_open_but_its_input_and_its_output(site: Site) -> None:
    shown, log = ran(site, "for fd in /proc/$$/fd/*; do echo ${fd##*/}=$(readlink $fd); done")
    assert "passed" == shown["state"]
    assert "socket:" not in log
