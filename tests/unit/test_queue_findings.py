"""What a doctor finds about tasks that wait, and the workers that are there."""

from adapters.postgres.looking import Waiting
from domain.worker.automata import WorkerState
from domain.workflow import Requirements
from projections.workers import Worker
from tests.unit.given import NOON
from workers.findings import Level
from workers.queue_findings import examine_queue

GPU: Requirements = {"gpu": ("h100",)}
SOME = "tasks have waited for over 1 min 0 s, and"


def worker(**capabilities: str) -> Worker:
    """One that may claim."""
    return Worker(
        worker="w1", partition=0, state=WorkerState.AVAILABLE, session="s1", home="here",
        capabilities={name: (value,) for name, value in capabilities.items()}, slots=1,
        registered_at=NOON, since=NOON,
    )  # fmt: skip


def found(waiting: list[Waiting], *workers: Worker) -> list[tuple[Level, str, str]]:
    return [(one.level, one.what, one.advice) for one in examine_queue(waiting, workers)]


def test_what_some_worker_can_take_is_only_a_matter_of_time() -> None:
    waiting = [Waiting({}, 2), Waiting(GPU, 3)]
    assert [] == found(waiting, worker(), worker(gpu="h100"))
    assert [] == found([])


def test_without_a_worker_nothing_that_waits_is_ever_run() -> None:
    what = f"2 {SOME} no worker is available"
    advice = "`turnstile runner` starts one"
    assert [(Level.WATCH, what, advice)] == found([Waiting({}, 2)])
    [(_, what, advice)] = found([Waiting(GPU, 1)])
    assert f"1 {SOME} no worker is available: 1 require gpu=h100" == what
    assert "start a runner with `--capability gpu=h100`" == advice


def test_what_no_worker_has_is_named_for_those_that_require_it() -> None:
    both: Requirements = {"os": ("linux",), "gpu": ("h100", "a100")}
    [(level, what, advice)] = found([Waiting(both, 3), Waiting({}, 5)], worker(os="linux"))
    assert Level.WATCH == level
    assert (
        f"3 {SOME} no available worker has what they require: "
        "3 require os=linux, gpu=h100, gpu=a100" == what
    )
    assert "start a runner with `--capability gpu=h100 --capability gpu=a100`" == advice


def test_what_a_machine_is_nobody_is_told_to_say_of_it() -> None:
    [(_, _, advice)] = found([Waiting({"arch": ("riscv64",)}, 1)], worker(arch="amd64"))
    assert "start a runner on such a machine" == advice


def test_of_many_requirements_the_first_are_named() -> None:
    waiting = [Waiting({"gpu": (name,)}, 9 - n) for n, name in enumerate("abcde")]
    [(_, what, _)] = found(waiting, worker())
    assert what.endswith("9 require gpu=a; 8 require gpu=b; 7 require gpu=c; …")
    assert what.startswith("35 ")
