"""Steps run in order, each in a shell of its own; the first that fails ends the task."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.execution.errors import RoomBroken
from adapters.execution.keeping import PATH
from adapters.execution.process import ProcessProvider
from adapters.execution.provider import Room, Workplace
from domain.errors import Invalid
from domain.shell import Shell, shell_of, steps_of
from domain.ticket.words import Execution, Outcome, Result
from workers.runner.steps import Ran, place_of, run_steps

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="rooms are Linux's")

PASSED, FAILED, SKIPPED = Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED


class Task:
    """A task in a real room."""

    def __init__(self, room: Room, work: Path) -> None:
        self.room = room
        self.work = work
        self.said = b""
        self.told: list[Result] = []

    async def run(self, *steps: dict[str, Any], limit: float = 60.0, **environment: str) -> Ran:
        """Run the steps."""

        async def output(data: bytes) -> None:
            self.said += data

        async def told(result: Result) -> None:
            self.told.append(result)

        return await run_steps(
            self.room,
            "unit",
            steps_of(shell_of({"steps": list(steps)})),
            environment=environment,
            directory=self.work,
            limit=limit,
            output=output,
            told=told,
        )


@pytest_asyncio.fixture
async def task(tmp_path: Path) -> AsyncIterator[Task]:
    work, private = tmp_path / "work", tmp_path / "private"
    work.mkdir()
    private.mkdir()
    workplace = Workplace(work, private, attempt="9/unit/4", home="h1")
    async with ProcessProvider(grace=0.1).open(workplace) as room:
        yield Task(room, work)


def step(name: str, run: Any, **rest: Any) -> dict[str, Any]:
    return {"name": name, "run": run, **rest}


def said(ran: Ran) -> list[tuple[str, Outcome, str]]:
    return [(result.testcase, result.outcome, result.summary) for result in ran.results]


async def test_steps_run_in_order_and_each_is_a_result(task: Task) -> None:
    ran = await task.run(step("build", "echo made >it"), step("test", ["cat", "it"]))
    assert (Execution.OK, PASSED, "") == (ran.execution, ran.outcome, ran.reason)
    assert [
        ("unit/build", PASSED, "exit status 0"),
        ("unit/test", PASSED, "exit status 0"),
    ] == said(ran)
    assert all(result.duration is not None for result in ran.results)
    assert list(ran.results) == task.told


async def test_the_log_says_which_step_it_is(task: Task) -> None:
    await task.run(step("build", "printf made"), step("test", "exit 2"), step("more", "true"))
    lines = [line.rsplit(",", 1)[0] for line in task.said.decode().splitlines()]
    assert [
        "=== step 1 of 3: build ===",
        "made",
        "=== build: exit status 0",
        "=== step 2 of 3: test ===",
        "=== test: exit status 2",
        "=== step 3 of 3, more: skipped",
    ] == lines


async def test_the_first_failure_ends_the_task_but_for_what_runs_always(task: Task) -> None:
    ran = await task.run(
        step("build", "exit 2"),
        step("test", "echo not me"),
        step("tidy", "exit 3", **{"if": "always"}),
        step("say", "echo me", **{"if": "always"}),
    )
    assert (Execution.OK, FAILED) == (ran.execution, ran.outcome)
    assert "step 'build': exit status 2" == ran.reason
    assert [
        ("unit/build", FAILED, "exit status 2"),
        ("unit/test", SKIPPED, "a step before it has failed"),
        ("unit/tidy", FAILED, "exit status 3"),
        ("unit/say", PASSED, "exit status 0"),
    ] == said(ran)
    assert b"not me" not in task.said


async def test_what_runs_always_can_fail_the_task(task: Task) -> None:
    ran = await task.run(step("build", "true"), step("tidy", "false", **{"if": "always"}))
    assert (FAILED, "step 'tidy': exit status 1") == (ran.outcome, ran.reason)


async def test_the_first_command_of_a_text_that_fails_ends_it(task: Task) -> None:
    ran = await task.run(step("build", "false\necho not me"))
    assert FAILED is ran.outcome
    assert b"not me" not in task.said


async def test_every_step_has_a_shell_and_an_environment_of_its_own(task: Task) -> None:
    await task.run(
        step("one", "mkdir sub; cd sub; X=1; export X"),
        step("two", 'echo "$X.$CC.$V in ${PWD##*/}"', environment={"CC": "clang"}),
        CC="gcc",
        V="1",
    )
    assert b".clang.1 in work\n" in task.said


async def test_words_are_no_shell_s_affair(task: Task) -> None:
    await task.run(step("one", ["echo", "$HOME;", "*"]))
    assert b"$HOME; *\n" in task.said


async def test_a_step_that_takes_too_long_ends_the_task_as_timed_out(task: Task) -> None:
    ran = await task.run(
        step("wait", ["sleep", "1000"], timeout=0.1),
        step("tidy", "echo tidied", **{"if": "always"}),
    )
    assert (Execution.TIMED_OUT, None) == (ran.execution, ran.outcome)
    assert "step 'wait': took too long, ended by SIGTERM" == ran.reason
    assert [FAILED, PASSED] == [result.outcome for result in ran.results]


async def test_the_steps_together_have_a_limit(task: Task) -> None:
    ran = await task.run(
        step("wait", ["sleep", "1000"]),
        step("tidy", "echo tidied", **{"if": "always"}),
        limit=0.2,
    )
    assert (Execution.TIMED_OUT, None) == (ran.execution, ran.outcome)
    assert ("unit/tidy", SKIPPED, "no time was left for it") == said(ran)[1]
    assert b"tidied" not in task.said


async def test_what_cannot_be_run_says_why(task: Task) -> None:
    ran = await task.run(step("build", ["no-such-program"]))
    why = f"'no-such-program' cannot be run: it is not on the PATH, {PATH}"
    assert (Execution.OK, FAILED, f"step 'build': {why}") == (
        ran.execution,
        ran.outcome,
        ran.reason,
    )
    assert why.encode() in task.said


async def test_a_crash_is_named(task: Task) -> None:
    ran = await task.run(step("crash", "kill -SEGV $$"), step("odd", "true"))
    assert ("unit/crash", FAILED, "ended by SIGSEGV") == said(ran)[0]


async def test_secrets_are_not_said(task: Task) -> None:
    await task.run(step("use", 'test -n "$TOKEN"'), TOKEN="s3cret")
    assert b"s3cret" not in task.said
    assert all("s3cret" not in result.summary for result in task.told)


async def test_a_room_that_breaks_is_not_the_test_s_fault(task: Task) -> None:
    await task.room.kill()
    with pytest.raises(RoomBroken):
        await task.run(step("build", "true"))


def test_a_directory_is_one_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    assert tmp_path / "src" == place_of(Shell(directory="src"), tmp_path)
    assert tmp_path == place_of(Shell(), tmp_path)
    for wrong in ("none", "out"):
        with pytest.raises(Invalid, match="there is no directory") as refused:
            place_of(Shell(directory=wrong), tmp_path)
        assert "run.parameters.directory" == refused.value.field
