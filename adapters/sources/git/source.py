"""One git source: its commit, perhaps merged with another, perhaps with its submodules."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from adapters.sources.attempt import Attempt
from adapters.sources.git.checkout import check_out, merge
from adapters.sources.git.mirror import Mirror
from adapters.sources.git.revisions import commit
from adapters.sources.git.submodules import fill
from adapters.sources.git.verdicts import GitFailed
from adapters.sources.places import Placed, parameters
from domain.workflow import Source


class Parameters(Placed, frozen=True, kw_only=True):
    """What a git source may ask for, besides its place.

    Attributes:
        merge: another revision, merged into the source's. A conflict is the workflow's mistake.
        depth: commits of history, at the least; without it there is all of it.
        submodules: whether the repositories in the repository are fetched too.
        ref: what to fetch where a server does not give a commit that one asks for.
    """

    merge: str | None = None
    depth: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    submodules: bool = False
    ref: str | None = None


async def place(source: Source, place: Path, attempt: Attempt) -> None:
    """Check the source out. Raises NotFetched, Away, OSError."""
    try:
        await _place(source, place, attempt)
    except GitFailed as failed:
        raise failed.verdict() from failed


async def _place(source: Source, place: Path, attempt: Attempt) -> None:
    asked = parameters(source, Parameters)
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
