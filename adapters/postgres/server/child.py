"""Become a program that ends with its parent. Run as a file, never imported.

python -I -S child.py PARENT UID GID PROGRAM ARGUMENT...

Between fork and exec no Python is safe in a process with threads; in a process of its own it is,
and the program keeps the process id.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Give up root, tie this process to its parent, and become the program."""
    parent, uid, gid = map(int, sys.argv[1:4])
    command = sys.argv[4:]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # Not before the change of user, which clears it. The signal comes when the *thread* that
        # made this process ends: that of the event loop, which the server must not outlive.
        # SIGINT is PostgreSQL's fast shutdown.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGINT))
        if os.getppid() != parent:  # it ended before we could be told
            sys.exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that is inherited
    # Nothing of our environment: no PG* that the programs obey, no secret for others of that uid
    # to read. TZ spares initdb its search for the local time zone.
    os.execve(command[0], command, {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath})


if __name__ == "__main__":
    main()
