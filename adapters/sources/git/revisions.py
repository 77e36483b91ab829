"""From what a ticket calls a revision to one commit that the mirror has."""

import re
import time
from pathlib import Path
from typing import Final

from adapters.sources.failures import Away, NotFetched, mistaken
from adapters.sources.git.mirror import ASKED, EVERYTHING, PINNED, Mirror
from adapters.sources.git.verdicts import GitFailed

_NAME: Final = re.compile(
    r"(?![-/.@]\Z)(?!-)(?!.*(\.\.|@\{|//|\.lock(/|\Z)))[^\x00-\x20\x7f~^:?*\[\\]+"
)
"""What git itself takes for the name of a branch or tag, and no option."""

_WHOLE: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)
_SHORT: Final = re.compile(r"[0-9a-f]{4,63}", re.IGNORECASE)


async def commit(mirror: Mirror, revision: str, place: Path, ref: str | None = None) -> str:
    """The commit that the *revision* is now, in the mirror and borrowed by the *place*.

    A commit that is here is not asked for. A name is: branches move. The *ref* is where a commit
    is found on servers that do not give any that one asks for.

    Raises:
        NotFetched: there is no such revision.
        Away: the server did not answer.
    """
    for name in (revision, ref or "HEAD"):
        if not _NAME.fullmatch(name):
            raise mistaken(f"{name!r} is no name of a commit, branch or tag")
    if _WHOLE.fullmatch(revision):
        return await _whole(mirror, revision.lower(), place, ref)
    answer = await mirror.answer(revision, since=time.time())
    if answer.commit:
        pinned = f"{PINNED}/{answer.commit}"
        if not await mirror.borrow(answer.commit, place):
            ways = [f"+{answer.commit}:{pinned}"], [f"+{answer.ref}:{pinned}"]
            await mirror.obtain(answer.commit, *ways)
        if not await mirror.borrow(answer.commit, place):
            raise Away(f"{revision!r} has moved in the meantime")
        return answer.commit
    if _SHORT.fullmatch(revision):
        return await _short(mirror, revision.lower(), place)
    raise _absent(mirror, revision)


async def _whole(mirror: Mirror, name: str, place: Path, ref: str | None) -> str:
    if await mirror.borrow(name, place):
        return name
    ways = [[f"+{name}:{PINNED}/{name}"]]
    if ref is not None:
        ways.insert(0, [f"+{ref}:{ASKED}/{name}"])
    if mirror.depth is None:
        ways.append(list(EVERYTHING))
    await mirror.obtain(name, *ways)
    if not await mirror.borrow(name, place):
        raise _absent(mirror, name)
    return name


async def _short(mirror: Mirror, name: str, place: Path) -> str:
    """The one commit that begins so, of all that can be seen from branches and tags."""
    if mirror.depth is not None:
        raise mistaken(f"{name!r}: with a depth, a commit needs its whole name")
    found = await _begins(mirror, name)
    if found is None:
        await mirror.obtain(name, EVERYTHING)
        found = await _begins(mirror, name)
    if found is None or not await mirror.borrow(found, place):
        raise _absent(mirror, name)
    return found


async def _begins(mirror: Mirror, name: str) -> str | None:
    try:
        found = await mirror.own("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except GitFailed as failed:
        if "ambiguous" in failed.said:
            raise mistaken(f"more than one commit begins with {name!r}") from failed
        return None
    return found.decode().strip()


def _absent(mirror: Mirror, revision: str) -> NotFetched:
    return mistaken(f"there is no revision {revision!r} in {mirror.location.shown}")
