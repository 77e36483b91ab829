"""What every provider promises: how commands end, what they say, and that nothing is left."""

import asyncio
import os
import shutil
import signal
import sys
import tracemalloc
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import pytest_asyncio
from msgspec.structs import replace
from structlog.testing import capture_logs

from adapters.execution.errors import ProviderRefused, RoomBroken
from adapters.execution.keeping import KEEPER, PATH, PROGRAM
from adapters.execution.marks import ATTEMPT, HOME, sweep
from adapters.execution.process import ProcessProvider
from adapters.execution.provider import CHUNK, Exit, Provider, Room, Workplace
from adapters.execution.sandbox import SandboxProvider
from tests.contract.a_runner import PROVIDERS, workplace_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="keepers are Linux's")

GRACE = 0.2


class Heard:
    """What was said so far."""

    def __init__(self) -> None:
        self.said = b""
        self._more = asyncio.Condition()

    async def __call__(self, data: bytes) -> None:
        self.said += data
        async with self._more:
            self._more.notify_all()

    async def until(self, word: bytes) -> None:
        async with asyncio.timeout(20), self._more:
            await self._more.wait_for(lambda: word in self.said)


PROVIDED: dict[str, Provider] = {name: kind(grace=GRACE) for name, kind in PROVIDERS.items()}


@pytest_asyncio.fixture(params=PROVIDED)
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Provider:
    return await offered(PROVIDED[request.param], tmp_path)


async def offered(provider: Provider, folder: Path) -> Provider:
    """The provider, where it can be had."""
    try:
        async with provider.open(workplace_in(folder)):
            return provider
    except ProviderRefused as refused:
        pytest.skip(str(refused))


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return workplace_in(tmp_path)


@pytest_asyncio.fixture
async def room(provider: Provider, workplace: Workplace) -> AsyncIterator[Room]:
    async with provider.open(workplace) as room:
        yield room


async def run(room: Room, script: str, limit: float | None = None) -> tuple[Exit, bytes]:
    """Run it with a shell."""
    heard = Heard()
    return await room.run(["/bin/sh", "-c", script], limit=limit, output=heard), heard.said


async def said(room: Room, script: str) -> bytes:
    """What it says, if it succeeds."""
    ended, output = await run(room, script)
    assert (0, None) == (ended.status, ended.signal), output
    return output


# ----------------------------------------------------------------------------------------- ends


async def test_the_exit_status_is_told(room: Room) -> None:
    assert 0 == (await run(room, "true"))[0].status
    ended, _ = await run(room, "exit 3")
    assert (3, None, False, "") == (ended.status, ended.signal, ended.timed_out, ended.reason)
    assert 0 < ended.seconds < 20


async def test_the_signal_that_ended_it_is_told(room: Room) -> None:
    ended, _ = await run(room, "kill -SEGV $$")
    assert (None, signal.SIGSEGV, False) == (ended.status, ended.signal, ended.timed_out)


async def test_what_lasts_too_long_is_told_to_end(room: Room) -> None:
    ended, _ = await run(room, "exec sleep 1000", limit=0.1)
    assert (signal.SIGTERM, True) == (ended.signal, ended.timed_out)


async def test_what_is_told_to_end_may_tidy_up_and_say_so(room: Room) -> None:
    ended, output = await run(room, "trap 'echo bye; exit 3' TERM; sleep 1000 & wait", limit=0.3)
    assert (3, True, b"bye\n") == (ended.status, ended.timed_out, output)


async def test_what_does_not_hear_is_killed_after_the_grace(room: Room) -> None:
    mark = unique()
    ended, _ = await run(room, f"trap '' TERM; sleep {mark}; sleep {mark}", limit=0.1)
    assert (signal.SIGKILL, True) == (ended.signal, ended.timed_out)
    assert ended.seconds >= 0.1 + GRACE
    await gone(mark)  # the group too, not only its leader


async def test_what_is_stopped_is_told_to_end_all_the_same(room: Room) -> None:
    ended, _ = await run(room, "kill -STOP $$", limit=0.1)
    assert (signal.SIGTERM, True) == (ended.signal, ended.timed_out)


async def test_a_command_that_does_not_exist_is_told_as_a_shell_tells_it(room: Room) -> None:
    ended = await room.run(["no-such-program"], output=Heard())
    assert Exit(
        status=127, reason=f"'no-such-program' cannot be run: it is not on the PATH, {PATH}"
    ) == (ended)


async def test_a_command_that_is_none_is_told(room: Room, workplace: Workplace) -> None:
    (workplace.directory / "notes").write_text("not a program")
    ended = await room.run(["./notes"], output=Heard())
    assert (126, "'./notes' cannot be run: Permission denied") == (ended.status, ended.reason)


async def test_an_environment_that_is_too_large_is_refused_with_a_sentence(room: Room) -> None:
    huge = {f"V{n}": "x" * 100_000 for n in range(40)}
    ended = await room.run(["true"], environment=huge, output=Heard())
    reason = "its arguments and its environment are larger than this system takes"
    assert (126, f"'true' cannot be run: {reason}") == (ended.status, ended.reason)
    assert b"ok\n" == await said(room, "echo ok")


async def test_a_hundred_commands_run_one_after_the_other(room: Room) -> None:
    for n in range(100):
        assert f"{n}\n".encode() == await said(room, f"echo {n}")


# --------------------------------------------------------------------------------------- output


async def test_both_streams_are_one_in_their_order(room: Room) -> None:
    expected = "".join(f"out {n}\nerr {n}\n" for n in range(200)).encode()
    script = "n=0; while [ $n -lt 200 ]; do echo out $n; echo err $n >&2; n=$((n+1)); done"
    assert expected == await said(room, script)


async def test_rubbish_is_handed_on_as_it_is(room: Room, workplace: Workplace) -> None:
    output = await said(room, "head -c 1000000 /dev/urandom | tee rubbish")
    assert (workplace.directory / "rubbish").read_bytes() == output


async def test_a_line_of_50_megabytes_takes_no_memory(room: Room) -> None:
    sizes: list[int] = []

    async def output(data: bytes) -> None:
        sizes.append(len(data))

    tracemalloc.start()
    try:
        script = "head -c 50000000 /dev/zero | tr '\\0' x"
        ended = await room.run(["/bin/sh", "-c", script], output=output)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (0, 50_000_000) == (ended.status, sum(sizes))
    assert max(sizes) <= CHUNK
    assert peak < 2_000_000


async def test_a_command_waits_for_its_output_to_be_taken(room: Room, workplace: Workplace) -> None:
    """What it can say ahead is what a pipe holds."""
    counter = workplace.directory / "count"
    ahead: list[str] = []

    async def output(data: bytes) -> None:
        if not ahead:
            await told(counter)
            ahead.append(content(counter))

    script = "for n in $(seq 50); do head -c 50000 /dev/zero; echo $n >>count; done"
    await room.run(["/bin/sh", "-c", script], output=output)
    assert ahead[0] in {"1\n", "1\n2\n"}  # a read and what a pipe holds are less than three
    assert content(counter).endswith("\n50\n")


async def test_what_lives_on_does_not_hold_up_the_end(room: Room) -> None:
    """It has the output open still, and says more and more."""
    ended, output = await run(room, "yes busy & echo done")
    assert (0, True) == (ended.status, b"done\n" in output)
    assert b"next\n" in await said(room, "echo next")


# ---------------------------------------------------------------------------------- surroundings


async def test_there_is_no_stdin(room: Room) -> None:
    assert b"" == await said(room, "cat")


async def test_the_environment_is_clean(
    provider: Provider, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_S_OWN", "secret")
    async with provider.open(workplace) as room:
        heard = Heard()
        await room.run(["env"], environment={"CC": "clang"}, output=heard)
    found = dict(line.split("=", 1) for line in heard.said.decode().splitlines())
    found.pop("PWD", None)  # bubblewrap's
    assert {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(workplace.private / "home"),
        "TMPDIR": str(workplace.private / "tmp"),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "CC": "clang",
        HOME: workplace.home,
        ATTEMPT: workplace.attempt,
    } == found


async def test_the_marks_cannot_be_taken_off(provider: Provider, workplace: Workplace) -> None:
    async with provider.open(workplace) as room:
        heard = Heard()
        script = ["/bin/sh", "-c", f"echo ${HOME}"]
        await room.run(script, environment={HOME: "another"}, output=heard)
    assert f"{workplace.home}\n".encode() == heard.said


async def test_it_begins_in_the_work_tree_or_in_a_directory_of_it(
    room: Room, workplace: Workplace
) -> None:
    work = workplace.directory
    (work / "sources").mkdir()
    assert f"{work}\n".encode() == await said(room, "pwd")
    heard = Heard()
    await room.run(["pwd"], directory=Path("sources"), output=heard)
    assert f"{work / 'sources'}\n".encode() == heard.said
    ended = await room.run(["pwd"], directory=Path("nowhere"), output=heard)
    assert f"'{work}/nowhere' cannot be entered: No such file or directory" == ended.reason


async def test_what_it_writes_stays(room: Room, workplace: Workplace) -> None:
    await said(room, "echo one >file; echo two >$HOME/file; echo three >$TMPDIR/file")
    assert "one\n" == (workplace.directory / "file").read_text()
    assert "two\n" == (workplace.private / "home" / "file").read_text()
    assert "three\n" == (workplace.private / "tmp" / "file").read_text()


async def test_files_signals_and_umask_are_what_programs_expect(room: Room) -> None:
    assert b"0022\n" == await said(room, "umask")
    assert [b"0", b"1", b"2", b"3"] == (await said(room, "ls /proc/self/fd")).split()  # 3 is ls's
    masks = await said(room, "grep -E '^Sig(Ign|Blk)' /proc/self/status")
    reserved = 0b11 << 31  # signals 32 and 33 are the C library's, whatever came from our parents
    assert {0} == {int(mask, 16) & ~reserved for mask in masks.split()[1::2]}


async def test_every_command_has_a_session_of_its_own(room: Room) -> None:
    for _ in range(2):
        pid, group, session = (await said(room, "exec cut -d' ' -f1,5,6 /proc/self/stat")).split()
        assert pid == group == session


async def test_what_one_leaves_in_the_background_is_there_for_the_next(room: Room) -> None:
    await said(room, "sleep 1000 & echo $! >pid")
    await said(room, "kill -0 $(cat pid) && kill $(cat pid)")


# --------------------------------------------------------------------------------- nothing is left


def unique() -> str:
    """Seconds to sleep, by which a process can be found again."""
    return f"86400.{uuid4().int % 10**12:012}"


def alive(mark: str) -> list[int]:
    """The processes whose command line has it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and mark in " ".join(process.cmdline()):
                found.append(process.pid)
    return sorted({*found} - {os.getpid()})


async def born(mark: str) -> None:
    """Wait until those are there who leave their parents."""
    async with asyncio.timeout(20):
        while len(alive(mark)) < 7:
            await asyncio.sleep(0.01)


async def gone(mark: str) -> None:
    async with asyncio.timeout(20):
        while alive(mark):
            await asyncio.sleep(0.01)


async def told(path: Path) -> None:
    """Wait until the file is there with something in it."""
    async with asyncio.timeout(20):
        while not content(path):
            await asyncio.sleep(0.01)


def content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


ESCAPES = (
    "(sleep {0} & sleep {0}) & ",
    "setsid -f sleep {0}; ",
    "(setsid sh -c 'trap \"\" TERM HUP INT; (sleep {0} &) ; sleep {0}; :' &) ; ",
    "(cd / && nohup sleep {0} >/dev/null 2>&1 &) ; ",
)
"""How one leaves his parents behind."""

WITHOUT_MARKS = "setsid -f env -i sh -c 'sleep {0} & sleep {0}'; "


def marked(mark: str) -> str:
    """Who has left his parents, and has the runner's marks."""
    return "".join(ESCAPES).format(mark)


def escaping(mark: str) -> str:
    """Who has left his parents, with the runner's marks and without."""
    return "".join((*ESCAPES, WITHOUT_MARKS)).format(mark)


async def test_nobody_who_has_left_his_parents_is_left(
    provider: Provider, workplace: Workplace
) -> None:
    mark = unique()
    async with provider.open(workplace) as room:
        await said(room, escaping(mark))
        await born(mark)
    assert [] == alive(mark)


def hopping(mark: str) -> str:
    """Who forks and dies again and again, for 20 s: none of him is there for long."""
    hop = (
        "import os, time",
        "until = time.monotonic() + 20",
        "while time.monotonic() < until:",
        "  if os.fork(): os._exit(0)",
        "  time.sleep(0.0005)",
        f"#{mark}",
    )
    return f"setsid -f {sys.executable} -I -S -c '{chr(10).join(hop)}'"


async def test_who_forks_and_dies_again_and_again_is_caught(
    provider: Provider, workplace: Workplace
) -> None:
    mark = unique()
    async with provider.open(workplace) as room:
        await said(room, hopping(mark))
        await said(room, "sleep 0.2")  # it is far away then
    assert [] == alive(mark)


async def test_he_is_caught_where_the_kernel_does_not_list_children(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = unique()
    provider = ProcessProvider(GRACE)
    blind = workplace.private / "keeper.py"
    seeing = KEEPER.read_text()
    blind.write_text(seeing.replace("/proc/self/task/", "/proc/self/no-such-task/"))
    assert seeing != blind.read_text()
    monkeypatch.setattr("adapters.execution.process.PROGRAM", (*PROGRAM[:-1], str(blind)))
    with capture_logs() as warnings:
        async with provider.open(workplace) as room:
            await said(room, hopping(mark))
            await said(room, "sleep 0.2")
    assert ([], []) == (warnings, alive(mark))  # its keeper has ended, and by itself


async def test_an_attempt_can_be_killed_in_the_middle(room: Room) -> None:
    mark, heard = unique(), Heard()
    script = ["/bin/sh", "-c", f"{escaping(mark)} echo ready; trap '' TERM; sleep {mark}; sleep 9"]
    running = asyncio.create_task(room.run(script, output=heard))
    await heard.until(b"ready")
    await room.kill()
    assert [] == alive(mark)
    assert signal.SIGKILL == (await running).signal
    with pytest.raises(RoomBroken):
        await room.run(["true"], output=heard)


async def test_nothing_is_left_of_what_nobody_waits_for_any_more(
    provider: Provider, workplace: Workplace
) -> None:
    mark, heard = unique(), Heard()

    async def work() -> None:
        async with provider.open(workplace) as room:
            script = f"{escaping(mark)} echo ready; sleep {mark}"
            await room.run(["/bin/sh", "-c", script], output=heard)

    working = asyncio.create_task(work())
    await heard.until(b"ready")
    working.cancel()
    await asyncio.wait({working})
    assert working.cancelled()
    assert [] == alive(mark)


async def test_who_cannot_take_the_output_ends_it(provider: Provider, workplace: Workplace) -> None:
    mark = unique()

    async def output(data: bytes) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        async with provider.open(workplace) as room:
            await room.run(["/bin/sh", "-c", f"echo; sleep {mark}"], output=output)
    assert [] == alive(mark)


@asynccontextmanager
async def a_runner(provider: Provider, folder: Path, script: str) -> AsyncIterator[Process]:
    """A runner in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.a_runner"),
        *(provider.name, folder, home_of(folder), script),
        stdout=PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def home_of(folder: Path) -> str:
    """The id of the directory of the runner there."""
    return str(folder)


async def line(runner: Process) -> bytes:
    assert runner.stdout is not None
    async with asyncio.timeout(20):
        return await runner.stdout.readline()


async def test_nothing_is_left_of_a_runner_that_is_killed(
    provider: Provider, tmp_path: Path
) -> None:
    mark = unique()
    async with a_runner(provider, tmp_path, f"{escaping(mark)} echo ready; sleep {mark}") as runner:
        assert b"ready\n" == await line(runner)
        await born(mark)
        runner.kill()
        await gone(mark)


async def test_what_a_killed_keeper_kept_ends_with_its_room(
    provider: Provider, tmp_path: Path
) -> None:
    mark = unique()
    async with a_runner(provider, tmp_path, f"{marked(mark)} echo ready; sleep {mark}") as runner:
        assert b"ready\n" == await line(runner)
        keeper_of(runner).kill()
        assert (await line(runner)).startswith(b"broken: The room of 9/unit/4 takes no more")
        assert b"left\n" == await line(runner)
        assert [runner.pid] == alive(mark)  # which was told what to run


async def test_what_a_killed_runner_and_its_killed_keeper_leave_is_swept_up(
    provider: Provider, tmp_path: Path
) -> None:
    mark, other = unique(), unique()
    (tmp_path / "other").mkdir()
    script = "echo ready; sleep {}"
    async with (
        a_runner(provider, tmp_path, marked(mark) + script.format(mark)) as runner,
        a_runner(provider, tmp_path / "other", script.format(other)) as another,
    ):
        assert b"ready\n" == await line(runner) == await line(another)
        runner.send_signal(signal.SIGSTOP)  # or it would end what its keeper has left
        keeper_of(runner).kill()
        runner.kill()
        await runner.wait()
        await asyncio.to_thread(sweep, home_of(tmp_path))
        assert [] == alive(mark)
        assert [] != alive(other)


async def test_a_runner_that_was_paused_goes_on_where_it_was(
    provider: Provider, tmp_path: Path
) -> None:
    folder = workplace_in(tmp_path).directory
    script = "echo ready; while [ ! -e go ]; do sleep 0.01; done; seq 100000; echo >went"
    async with a_runner(provider, tmp_path, script) as runner:
        assert b"ready\n" == await line(runner)
        runner.send_signal(signal.SIGSTOP)
        (folder / "go").touch()
        async with asyncio.timeout(20):
            while psutil.Process(runner.pid).status() != psutil.STATUS_STOPPED:
                await asyncio.sleep(0.01)
        runner.send_signal(signal.SIGCONT)
        for n in range(1, 100_001):
            assert f"{n}\n".encode() == await line(runner)
        assert b"ended: 0 None\n" == await line(runner)


def keeper_of(runner: Process) -> psutil.Process:
    """Of a sandbox it is the first process inside."""
    [keeper] = psutil.Process(runner.pid).children()
    if keeper.name() == "bwrap":
        [keeper] = keeper.children()
    return keeper


# ------------------------------------------------------------------------------------- refusals


async def test_what_cannot_be_kept_from_the_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProviderRefused, match="'process' refuses: it cannot keep a task from the"):
        async with ProcessProvider().open(workplace_in(tmp_path, network=False)):
            pass


async def test_without_bubblewrap_there_is_no_sandbox(tmp_path: Path) -> None:
    with pytest.raises(ProviderRefused, match="there is no no-bwrap on the PATH"):
        async with SandboxProvider(program="no-bwrap").open(workplace_in(tmp_path)):
            pass


async def test_where_bubblewrap_may_not_work_its_own_words_say_why(tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a namespace' >&2; exit 1")
    program.chmod(0o755)
    provider = SandboxProvider(program=str(program))
    with pytest.raises(ProviderRefused, match="No permissions to create a namespace"):
        async with provider.open(workplace_in(tmp_path)):
            pass


async def test_where_bubblewrap_fails_without_a_word_there_is_no_sandbox(tmp_path: Path) -> None:
    provider = SandboxProvider(program=shutil.which("false") or "false")
    with pytest.raises(ProviderRefused, match="false ends with 1"):
        async with provider.open(workplace_in(tmp_path)):
            pass


async def test_where_bubblewrap_did_not_work_it_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    inside = 'until [ "$1" = -- ]; do shift; done; shift; exec "$@"'
    program.write_text(f"#!/bin/sh\n[ -e {tmp_path}/mended ] || exit 1\n{inside}\n")
    program.chmod(0o755)
    provider = SandboxProvider(program=str(program), grace=GRACE)
    with pytest.raises(ProviderRefused):
        async with provider.open(workplace_in(tmp_path)):
            pass
    (tmp_path / "mended").touch()
    async with provider.open(workplace_in(tmp_path)) as room:
        assert b"ok\n" == await said(room, "echo ok")


# -------------------------------------------------------------------------------------- sandbox


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path) -> Provider:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "token").write_text("secret")
    (tmp_path / "secrets").write_text("secret")
    return await offered(SandboxProvider(hidden=[hidden, tmp_path / "secrets"]), tmp_path)


async def test_in_a_sandbox_the_system_is_read_only(
    sandbox: Provider, workplace: Workplace
) -> None:
    async with sandbox.open(workplace) as room:
        for path in ("/etc/x", "/usr/x", "/x", "/home/x", f"{Path(__file__).parent}/x"):
            ended, output = await run(room, f"touch {path}")
            assert 0 != ended.status, path
            assert b"cannot touch" in output
        await said(room, "echo one | tee /tmp/mine $HOME/mine mine")
    assert (workplace.private / "tmp" / "mine").exists()
    assert "" == content(Path("/tmp/mine"))


async def test_in_a_sandbox_nobody_else_is_seen(
    sandbox: Provider, workplace: Workplace, tmp_path: Path
) -> None:
    async with sandbox.open(workplace) as room:
        pids = (await said(room, "ls -d /proc/[0-9]*")).split()
        assert len(pids) <= 3  # the keeper, the shell, ls
        assert b"" == await said(room, f"ls {tmp_path}/hidden")
        assert b"secret" not in (await run(room, f"cat {tmp_path}/secrets"))[1].splitlines()
        assert b"" == await said(room, "ls -A /srv")


async def test_in_a_sandbox_is_seen_what_its_own_attempt_has_to_be_shown(
    sandbox: Provider, workplace: Workplace, tmp_path: Path
) -> None:
    for name in ("lent", "theirs"):
        (tmp_path / "hidden" / name).mkdir()
        (tmp_path / "hidden" / name / "file").write_text(name)
    shown = replace(workplace, shown=[tmp_path / "hidden/lent"])
    async with sandbox.open(shown) as room:
        assert b"lent\n" == await said(room, f"ls {tmp_path}/hidden")
        assert b"lent" == await said(room, f"cat {tmp_path}/hidden/lent/file")
        assert 0 != (await run(room, f"touch {tmp_path}/hidden/lent/made"))[0].status
    async with sandbox.open(workplace) as room:
        assert b"" == await said(room, f"ls {tmp_path}/hidden")


async def test_a_sandbox_has_a_network_only_if_it_is_to_have_one(
    sandbox: Provider, tmp_path: Path
) -> None:
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    async with listening:
        for network, expected in ((True, 0), (False, 1)):
            async with sandbox.open(workplace_in(tmp_path, network=network)) as room:
                ended = await room.run([sys.executable, "-I", "-S", "-c", code], output=Heard())
                assert expected == ended.status


async def test_a_task_cannot_end_the_keeper_of_its_sandbox(
    sandbox: Provider, workplace: Workplace
) -> None:
    async with sandbox.open(workplace) as room:
        await run(room, "kill -9 1; kill -9 -1")
        assert b"ok\n" == await said(room, "echo ok")
