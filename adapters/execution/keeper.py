"""Keeps what one attempt runs. Run as a file, never imported, and only on Linux.

python -I -S keeper.py

Its stdin is a socket to the runner, its stdout and stderr the pipe that takes the log. It is told
to run commands, one after the other, as JSON lines, and says how they ended. It is the reaper of
all their descendants, so whoever has left his parents behind is a child of its own in the end.
When it is told to end, or nobody is there any more to tell it, it kills them all: that it has no
child left is what the kernel says, and then there is no descendant either.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # it is started for every attempt: what takes long to import, it does without
    from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

NOT_FOUND, NOT_RUN = 127, 126
"""The exit statuses that shells have for it."""

ROUND = 10
"""Milliseconds after which the rest is looked for again, if nothing is heard of its end."""

SWATS = 50
"""How often children are killed in a round before all descendants are looked for, which is slow."""

prctl = ctypes.CDLL(None).prctl


class Command:
    """The command that is running."""

    def __init__(self, pid: int, limit: float | None, grace: float) -> None:
        self.pid = pid
        self.began = time.monotonic()
        self.grace = grace
        self.due = None if limit is None else self.began + limit
        self.timed_out = False

    def hurry(self) -> None:
        """Tell its group to end if it has lasted too long, and next time kill it."""
        now = time.monotonic()
        if self.due is None or now < self.due:
            return
        if self.timed_out:
            self.due = None
            self.signal(signal.SIGKILL)
        else:
            self.timed_out = True
            self.due = now + self.grace
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)  # who is stopped hears nothing

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


class Keeper:
    """Obeys the runner at the other end of *control*."""

    def __init__(self, control: int) -> None:
        self.control = control
        self.command: Command | None = None
        self.received = b""
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def keep(self) -> None:
        """Run what is asked for until the end, and then end all of it."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        self.tell(ready=True)
        wanted = True
        while wanted:
            ready = dict(poll.poll(self.patience()))
            if self.woken in ready:
                os.read(self.woken, 4096)
            self.reap()
            if self.command is not None:
                self.command.hurry()
            if self.control in ready:
                wanted = self.listen()
        self.end_all()

    def patience(self) -> int | None:
        """Milliseconds until something is due."""
        if self.command is None or self.command.due is None:
            return None
        return max(0, math.ceil((self.command.due - time.monotonic()) * 1000))

    def listen(self) -> bool:
        """Do what the runner says. It is false that there is more to come when it is gone."""
        try:
            data = os.read(self.control, 65536)
        except ConnectionError:
            return False
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "end" in order:
                return False
            self.start(order["run"])
        return bool(data)

    def tell(self, **what: Any) -> None:
        try:
            os.write(self.control, json.dumps(what).encode() + b"\n")
        except ConnectionError:
            pass  # it is gone, and that is noticed by listening

    def start(self, order: dict[str, Any]) -> None:
        """Start a command in a session and group of its own, or say why it cannot be."""
        keeper = os.getpid()
        heard, say = os.pipe()  # closed by the exec, unless there is something to say
        pid = os.fork()
        if pid == 0:
            try:
                become(order, keeper)
            except BaseException as error:  # of the child, which must never become a second keeper
                os.write(say, refusal(order, error))
            finally:
                os._exit(NOT_RUN)
        os.close(say)
        trouble = os.read(heard, 65536)
        os.close(heard)
        if trouble:
            os.waitpid(pid, 0)
            status, _, reason = trouble.decode(errors="replace").partition(" ")
            self.tell(exit={"status": int(status), "reason": reason})
        else:
            self.command = Command(pid, order["limit"], order["grace"])

    def reap(self) -> bool:
        """Take note of all who have ended. Says whether anybody is left."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if ended is None:
                return True
            command = self.command
            if command is None or ended.si_pid != command.pid:
                os.waitpid(ended.si_pid, 0)
                continue
            if command.timed_out:  # while its number is not yet another's
                command.signal(signal.SIGKILL)
            os.waitpid(ended.si_pid, 0)
            self.command = None
            how = "status" if ended.si_code == os.CLD_EXITED else "signal"
            self.tell(
                exit={
                    how: ended.si_status,
                    "timed_out": command.timed_out,
                    "seconds": time.monotonic() - command.began,
                }
            )

    def end_all(self) -> None:
        """Kill every descendant until there is none."""
        poll = select.poll()
        poll.register(self.woken, select.POLLIN)
        while self.reap():
            # Who forks and dies again and again is always a child of ours, and never for long.
            for _ in range(SWATS):
                send(children(), signal.SIGKILL)
            # Stopped first: who forks faster than he is killed would never be gone. And by groups:
            # nobody leaves one by forking while it is killed, and its dead say which it is.
            found: set[int] = set()
            while new := (seen := family(os.getpid())).keys() - found:
                found |= new
                send(new, signal.SIGSTOP)
                send({-group for group in seen.values() if group != os.getpgrp()}, signal.SIGKILL)
            send(found, signal.SIGKILL)
            if poll.poll(ROUND):
                os.read(self.woken, 4096)


def become(order: dict[str, Any], keeper: int) -> NoReturn:
    """Become the command: nothing but what is said here is handed down to it."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != keeper:  # it ended before we could be told
        os._exit(NOT_RUN)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    os.chdir(order["directory"])
    os.execvpe(order["argv"][0], order["argv"], order["environment"])


def refusal(order: dict[str, Any], error: BaseException) -> bytes:
    """Why there is no such command: an exit status and a sentence."""
    code = error.errno if isinstance(error, OSError) else None
    what = f"{order['argv'][0][:200]!r} cannot be run"
    why = os.strerror(code) if code else str(error)
    if code == errno.E2BIG:
        why = "its arguments and its environment are larger than this system takes"
    elif not os.path.isdir(order["directory"]):
        what = f"{order['directory']!r} cannot be entered"
    elif code == errno.ENOENT and "/" not in order["argv"][0]:
        why = f"it is not on the PATH, {order['environment'].get('PATH', os.defpath)}"
    return f"{NOT_FOUND if code == errno.ENOENT else NOT_RUN} {what}: {why}".encode()


def children() -> set[int]:
    """Our own children, as quickly as they can be had; none where the kernel does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return set(map(int, file.read().split()))
    except FileNotFoundError:
        return set()


def family(root: int) -> dict[int, int]:
    """The descendants of a process, as far as they can be seen at one go, and the group of each.

    Those too that have ended and were not waited for: their group may have others.
    """
    born: dict[int, list[int]] = {}
    groups: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    _, parent, group, *_ = file.read().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            born.setdefault(int(parent), []).append(int(name))
            groups[int(name)] = int(group)
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        offspring = born.get(waiting.pop(), [])
        found.update((pid, groups[pid]) for pid in offspring)
        waiting += offspring
    return found


def send(pids: set[int], number: int) -> None:
    """Send them all a signal; a negative number is a group."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended, or became another user's; who is left is looked for again


def main() -> None:
    """Become the reaper, and keep."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the runner alone ends it
    prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))
    # Whoever started us may have left other ends of the socket open: no command is to have one.
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)
    control = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    Keeper(control).keep()


if __name__ == "__main__":
    main()
