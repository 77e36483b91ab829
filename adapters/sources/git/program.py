"""The program `git`, kept from everything but what it is told.

No prompt, no hook, nobody's configuration, no transport that runs programs. It has a process group
of its own, and what is left of that is killed when nobody wants the answer any more.
"""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from adapters.sources.failures import unavailable
from adapters.sources.git.verdicts import GitFailed
from adapters.sources.urls import Location

_OURS: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "KRB5CCNAME", "LD_LIBRARY_PATH"),
)
"""What it may know of our own environment, in which there are tokens too."""

_SSH: Final = (
    "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15 -oServerAliveCountMax=4"
    # A connection that is shared would stay behind when its first user ends.
    " -oControlMaster=no -oControlPath=none"
)

_FORCED: Final = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_SSH_COMMAND": _SSH,
    "GIT_SSH_VARIANT": "ssh",
    "GIT_TERMINAL_PROMPT": "0",
    # What it says is read by programs; who merges is nobody.
    "LC_ALL": "C",
    "GIT_AUTHOR_NAME": "Turnstile",
    "GIT_AUTHOR_EMAIL": "turnstile@localhost",
    "GIT_COMMITTER_NAME": "Turnstile",
    "GIT_COMMITTER_EMAIL": "turnstile@localhost",
}

_SETTINGS: Final = {
    "advice.detachedHead": "false",
    "core.hooksPath": os.devnull,
    "credential.helper": "",
    "gc.autoDetach": "false",
    # Attempts borrow objects that no branch has any more.
    "gc.cruftPacks": "true",
    "gc.pruneExpire": "never",
    # A server that sends less than 100 bytes a second for a minute is gone.
    "http.lowSpeedLimit": "100",
    "http.lowSpeedTime": "60",
    "init.defaultBranch": "main",
    "maintenance.auto": "false",
}

_HELPER: Final = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$TURNSTILE_GIT_USERNAME" "$TURNSTILE_GIT_PASSWORD"; }; f'
)
"""Tells git a name and a password that stand in no list of processes."""

MOST: Final = 64 * 1024
"""Bytes of what it complains of that are kept: the last ones."""


class Git:
    """Runs git, with the runner's *environment* added to a few variables of ours."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours = {name: os.environ[name] for name in _OURS if name in os.environ}
        told = {key: value for key, value in environment.items() if not key.startswith("GIT_")}
        self._environment = ours | told | _FORCED

    async def __call__(
        self,
        *arguments: str | Path,
        remote: Location | None = None,
        holding: tuple[int, ...] = (),
        settings: Mapping[str, str] = {},
    ) -> bytes:
        """What it prints. The *remote* is its `origin`; it keeps the locks that are `holding`.

        Raises:
            GitFailed: it ended with another status than 0; says what it complained of.
            NotFetched: there is no git.
        """
        environment = self._environment | dict(settings) | _configured(remote)
        if remote is not None:
            environment["TURNSTILE_GIT_USERNAME"] = remote.username
            environment["TURNSTILE_GIT_PASSWORD"] = remote.password
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(
                "git",
                *map(str, arguments),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                pass_fds=holding,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except FileNotFoundError as error:
            raise unavailable("this runner has no git") from error
        except asyncio.CancelledError:
            await _kill(await starting)  # it may have helpers already, that only its group has
            raise
        try:
            answer, said = await asyncio.gather(_all(process.stdout), _last(process.stderr))
            status = await process.wait()
        except BaseException:  # nobody wants the answer any more
            await _kill(process)
            raise
        if status:
            raise GitFailed(status, said.decode(errors="replace"), answer)
        return answer


def _configured(remote: Location | None) -> dict[str, str]:
    """Settings as git takes them from the environment: they win over those of any file."""
    settings = list(_SETTINGS.items())
    if remote is not None:
        settings.append(("remote.origin.url", remote.url))
        if remote.username or remote.password:
            settings.append((f"credential.{remote.origin}.helper", _HELPER))
    told = {
        # Whatever a server says, git does not go on to a repository of this machine.
        "GIT_ALLOW_PROTOCOL": "file" if remote and remote.path else "git:http:https:ssh",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for n, (key, value) in enumerate(settings):
        told |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return told


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


async def _last(stream: asyncio.StreamReader | None) -> bytes:
    """The end of what may be any length: a server can have its words put there."""
    kept = b""
    while stream is not None and (part := await stream.read(MOST)):
        kept = (kept + part)[-MOST:]
    return kept


async def _kill(process: Process) -> None:
    # The group outlives its first process: helpers that talk to the server are in it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
