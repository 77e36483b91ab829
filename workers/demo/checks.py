"""What must be true in the end, whoever was killed."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from msgspec import Struct

from workers.demo.outcome import Aftermath, Outcome

ENDED: Final = {
    "lint": ("passed", 1),
    "domain": ("passed", 2),
    "slowest": ("passed", 1),
    "imports": ("passed", 2),
    "short": ("failed", 1),
}
"""How each task ends, and after how many attempts."""


class Check(Struct, frozen=True):
    """A sentence, and whether it is true."""

    sentence: str
    holds: bool


def checks(outcome: Outcome, after: Aftermath) -> Iterator[Check]:
    """All of them."""
    tasks = {task.task: (task.state, task.attempts) for task in outcome.tasks}
    yield Check(
        "the ticket passed: domain and imports in two attempts, the others in one; short failed, "
        "and was optional",
        outcome.ticket.state == "passed" and tasks == ENDED,
    )
    yield Check(
        f"{after.killed} was killed: its lease ran out, and domain passed on another runner",
        _was_lost(outcome, after.killed),
    )
    yield Check(
        "the log of the killed attempt is there as far as it had come, that of the next is whole",
        _logs_are_kept(outcome),
    )
    yield Check(
        "the git server refused one fetch: the infrastructure’s fault, and not the test’s",
        after.refused == 1 and _was_retried(outcome),
    )
    yield Check(
        "slowest was given the very report.xml that domain had left: the digests are equal",
        _was_handed_over(outcome),
    )
    versions = [event.version for event in outcome.events]
    yield Check(
        f"the history has versions 1 to {len(versions)} without a gap, and one end of each task",
        versions == list(range(1, len(versions) + 1)) and _each_ended_once(outcome),
    )
    yield Check(
        "no process of any attempt is left, and all that were stopped ended in order",
        not after.left and bool(after.statuses) and not any(after.statuses.values()),
    )


def _was_lost(outcome: Outcome, killed: str) -> bool:
    match outcome.attempts_at("domain"):
        case [first, second]:
            return (
                (first.worker, first.ended) == (killed, "lease_lost")
                and second.worker != killed
                and (second.ended, second.outcome) == ("task_passed", "passed")
            )
    return False


def _logs_are_kept(outcome: Outcome) -> bool:
    logs = [outcome.logs.get(one.token, b"") for one in outcome.attempts_at("domain")]
    end = b" passed in "
    return len(logs) == 2 and b"%]" in logs[0] and end not in logs[0] and end in logs[1]


def _was_retried(outcome: Outcome) -> bool:
    match outcome.attempts_at("imports"):
        case [first, _]:
            return (
                (first.ended, first.execution) == ("task_retried", "infrastructure")
                and first.started_at is None
                and "503" in first.reason
            )
    return False


def _was_handed_over(outcome: Outcome) -> bool:
    left = {
        (attempt.task, artifact.name): artifact.digest
        for attempt in outcome.attempts
        for artifact in outcome.artifacts.get(attempt.token, ())
    }
    if left.keys() != {("domain", "report.xml"), ("slowest", "slowest.txt")}:
        return False
    report = left["domain", "report.xml"]
    said = outcome.contents[left["slowest", "slowest.txt"]].decode()
    found = f"sha256:{sha256(outcome.contents[report]).hexdigest()}"
    return report == found and said.startswith(f"report.xml is {report}\n")


def _each_ended_once(outcome: Outcome) -> bool:
    ends = ("task_passed", "task_failed", "task_errored", "task_timed_out", "task_skipped")
    ended = [
        event.data["task"] for event in outcome.events if event.type.rpartition(".")[2] in ends
    ]
    return sorted(ended) == sorted(ENDED)
