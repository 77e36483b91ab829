"""One git source: its commit, perhaps merged with another, perhaps with its submodules."""

from pathlib import Path

from adapters.sources.attempt import Attempt
from adapters.sources.git.checkout import check_out, merge
from adapters.sources.git.mirror import Mirror
from adapters.sources.git.revisions import commit
from adapters.sources.git.submodules import fill
from adapters.sources.git.verdicts import GitFailed
from adapters.sources.places import parameters
from domain.sources import Git
from domain.workflow import Source


async def place(source: Source, place: Path, attempt: Attempt) -> None:
    """Check the source out. Raises NotFetched, Away, OSError."""
    try:
        await _place(source, place, attempt)
    except GitFailed as failed:
        raise failed.verdict() from failed


async def _place(source: Source, place: Path, attempt: Attempt) -> None:
    asked = parameters(source, Git)
    mirror = Mirror(attempt.located(source.url), attempt, asked.depth)
    revision = source.revision or "HEAD"
    found = await commit(mirror, revision, place, asked.ref)
    await check_out(mirror, found, place)
    if asked.merge is not None:
        other = await commit(mirror, asked.merge, place)
        await merge(mirror, place, found, other, asked.merge)
        await attempt.say(f"{mirror.location.shown}: {found} merged with {other}")
    else:
        await attempt.say(f"{mirror.location.shown}: {revision} is {found}")
    if asked.submodules:
        await fill(mirror, place, attempt)
