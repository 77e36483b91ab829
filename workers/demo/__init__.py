"""The demonstration: Turnstile tests its own repository, although a runner of it is killed.

Everything is real: the service, the runners, the tests that they run, kill -9.

    story.py         what happens: START READING HERE
    workflow.toml    the ticket that is opened, by workflow.py; what two of its tasks run is in
                     tasks/
    checks.py        what must be true afterwards, of what outcome.py has asked for
    cast.py          the processes
    place.py         where all of it is kept
    repository.py    the commit that is tested, from git_server.py
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from adapters.client import TurnstileError
from adapters.config import Config
from adapters.log import LogError
from workers.child import Ended
from workers.demo.cast import Cast
from workers.demo.checks import Check, checks
from workers.demo.outcome import Aftermath, Outcome
from workers.demo.place import folder, place
from workers.demo.repository import NoRepository, head, served
from workers.demo.story import Stage, Story

__all__ = ["Check", "DemoFailed", "Outcome", "Shown", "Stage", "demo"]

LIMIT: Final = 300.0
"""Seconds that the story may take, also where others use the machine."""


class DemoFailed(Exception):
    """Something did not happen as it must. `logs` are the ends of what the processes said."""

    def __init__(self, reason: str, logs: Mapping[str, Sequence[str]]) -> None:
        super().__init__(reason)
        self.logs = logs


class Shown(Struct, frozen=True):
    """What is left when all is over. The configuration leads to what was kept, if anything was."""

    outcome: Outcome
    checks: Sequence[Check]
    config: Config
    logs: Mapping[str, Sequence[str]]


async def demo(config: Config, stage: Stage, *, keep: bool = False) -> Shown:
    """Show it, and check it. Nothing is left behind, unless it is to *keep* files and log.

    Raises DemoFailed.
    """
    try:
        tested = await asyncio.to_thread(head, Path.cwd())
        if tested.has_changes:
            stage.tell("git", "some changes are not committed: what is tested is HEAD without them")
        with folder(keep=keep) as data:
            async with (
                place(config, data, stage, keep=keep) as own,
                served(tested, data / "git") as git,
                Cast(own, data) as cast,
            ):
                story = Story(own, cast, git, tested, stage)
                outcome = await _told(story, cast)
                stage.wait("all of them end")
                await cast.end()
                [killed] = cast.killed or [""]
                after = Aftermath(killed, git.refused, cast.statuses, cast.left())
                return Shown(outcome, tuple(checks(outcome, after)), own, cast.logs())
    except (LogError, NoRepository, OSError) as error:
        raise DemoFailed(f"{error}{_where(config)}", {}) from error


async def _told(story: Story, cast: Cast) -> Outcome:
    try:
        async with asyncio.timeout(LIMIT):
            return await cast.meanwhile(story.tell())
    except (Ended, TurnstileError, OSError) as error:
        reason = f"it took longer than {LIMIT:g} s" if isinstance(error, TimeoutError) else error
        raise DemoFailed(str(reason), cast.logs()) from error


def _where(config: Config) -> str:
    """Whose server it was, if it was somebody's own."""
    shown = config.shown()
    for setting, name in (("kafka", "TURNSTILE_KAFKA"), ("database_url", "DATABASE_URL")):
        if shown[setting] is not None:
            return f" ({name}={shown[setting]})"
    return ""
