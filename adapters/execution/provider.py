"""The port: a provider makes rooms, and in a room the commands of one attempt are run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

CHUNK: Final = 64 * 1024
"""Bytes of output that are handed on at a time, at most."""

GRACE: Final = 5.0
"""Seconds between SIGTERM and SIGKILL, where a command has lasted too long."""

Output = Callable[[bytes], Awaitable[None]]
"""Takes what a command says. While it is awaited nothing more is read: the command waits."""


class Workplace(Struct, frozen=True):
    """What an attempt is given to work in.

    `directory` is the work tree, `private` a directory for what must not lie in it: HOME and
    TMPDIR. Both exist and are the attempt's own; whoever made them removes them. `environment` is
    that of every command. `attempt` names it, and `home` is the id of the runner's own directory:
    both mark its processes. What needs no `network` may be kept from it. What is `shown` its
    commands can read, wherever it is.
    """

    directory: Path
    private: Path
    attempt: str
    home: str
    environment: Mapping[str, str] = {}
    network: bool = True
    shown: Sequence[Path] = ()


class Exit(Struct, frozen=True):
    """How a command ended: with an exit status, or by a signal.

    `seconds` is how long it ran. `reason` says why it could not be run at all; then the status is
    what a shell has for that: 127 where there is no such program, otherwise 126.
    """

    status: int | None = None
    signal: int | None = None
    timed_out: bool = False
    seconds: float = 0.0
    reason: str = ""


class Room(Protocol):
    """A place for the commands of one attempt, one at a time."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        limit: float | None = None,
        output: Output,
    ) -> Exit:
        """Run a command to its end, in the work tree or in a *directory* inside.

        What it says on stdout and stderr is one stream. After *limit* seconds its process group
        is told to end, and killed after the grace. What it leaves in the background lives on, and
        may say more while later commands run. Raises RoomBroken.
        """
        ...

    async def kill(self) -> None:
        """End everything at once. A command that is running has ended by SIGKILL."""
        ...


class Provider(Protocol):
    """Makes rooms of one kind."""

    name: str

    def open(self, workplace: Workplace) -> AbstractAsyncContextManager[Room]:
        """A room. When its context is left, nothing of it is left, however deep it has forked.

        Raises:
            ProviderRefused: nothing can be run here; nothing was.
        """
        ...
