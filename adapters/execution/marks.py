"""The marks by which a runner finds what it has started, whatever has become of it.

They are variables of the environment, which descendants inherit and the kernel shows for as long
as a process lives. A process that was given another environment *and* has left its parents is
found by its keeper (see keeper.py), or ends with its sandbox.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import psutil
import structlog

from adapters.execution.provider import Workplace

log = structlog.get_logger()

HOME: Final = "TURNSTILE_HOME_ID"
"""The variable that says which runner's directory an attempt belongs to."""

ATTEMPT: Final = "TURNSTILE_ATTEMPT"
"""The variable that names the attempt."""

PATIENCE: Final = 5.0
"""Seconds in which what was killed should be gone."""

_PR_SET_CHILD_SUBREAPER: Final = 36


def marks(workplace: Workplace) -> dict[str, str]:
    """The variables that every process of an attempt has."""
    return {HOME: workplace.home, ATTEMPT: workplace.attempt}


def adopt() -> None:
    """Make this process the reaper of its descendants whose keeper was killed.

    They are ended with the room of their attempt. Called once, by a runner.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def sweep(home: str) -> int:
    """Kill what an earlier runner of this *home* has left. Says how many there were.

    Called when a runner starts, before it starts anything itself.
    """
    return end_marked({HOME: home})


def end_marked(wanted: Mapping[str, str]) -> int:
    """Kill all processes with these marks, and their descendants, until there is none.

    Says how many there were. Which process is meant is its number and its start together, so
    nobody is killed who was given the number since. Neither this process nor its parents. Each with
    its group, as who forks and dies faster than he is looked for is killed by nothing else; who
    takes a group of his own each time besides is given up after PATIENCE, and the log says so.
    """
    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    groups_spared = {os.getpgid(pid) for pid in spared}
    killed: set[psutil.Process] = set()
    until = monotonic() + PATIENCE
    while found := {
        process: group
        for process, group in _marked(wanted).items()
        if process not in killed and process.pid not in spared
    }:
        if monotonic() > until:
            log.error("processes left", pids=[process.pid for process in found], **wanted)
            break
        for group in set(found.values()) - groups_spared:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=PATIENCE)
        for process in found:  # those that we have adopted
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        killed |= found.keys()
    return len(killed)


def left(home: str) -> Sequence[str]:
    """The processes that there are of a runner's *home*: number and command line of each."""
    found = []
    for process in _marked({HOME: home}):
        with suppress(psutil.Error):  # it has ended
            found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def _marked(wanted: Mapping[str, str]) -> dict[psutil.Process, int]:
    """The processes with these marks and their descendants, with the group of each."""
    found: dict[psutil.Process, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or is another user's
            environment = process.environ()
            if all(environment.get(name) == value for name, value in wanted.items()):
                for one in (process, *process.children(recursive=True)):
                    found[one] = os.getpgid(one.pid)
    return found
