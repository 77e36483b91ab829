"""The work tree: a repository of its own that borrows the mirror's objects.

Not a `git worktree`, whose branches and settings would be the mirror's. What a task does to this
repository stays in it: new objects are written here, the mirror's are only read.
"""

import shutil
from pathlib import Path
from typing import Final

from adapters.sources.failures import Away, mistaken
from adapters.sources.git.mirror import Mirror
from adapters.sources.git.verdicts import GitFailed

NAMED: Final = 5
"""Files in conflict that are named."""


async def check_out(mirror: Mirror, commit: str, place: Path) -> None:
    """Make the *place* a repository at the commit, on no branch. Raises Away, NotFetched."""
    try:
        await _check_out(mirror, commit, place)
    except GitFailed as failed:
        if failed.is_damage:
            mirror.found_broken()
            raise Away(f"the mirror is damaged: {failed.reason}") from failed
        raise failed.verdict() from failed


async def _check_out(mirror: Mirror, commit: str, place: Path) -> None:
    kind = "sha256" if len(commit) == 64 else "sha1"
    await mirror.git("init", "--quiet", "--template=", f"--object-format={kind}", place)
    own = place / ".git"
    (own / "objects/info").mkdir(exist_ok=True)
    (own / "objects/info/alternates").write_text(f"{mirror.objects}\n")
    shallow = mirror.directory / "shallow"
    if shallow.exists():
        shutil.copyfile(shallow, own / "shallow")
    # So that a task can say what comes after which release.
    tags = await mirror.own("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
    (own / "packed-refs").write_bytes(tags)
    await mirror.git("-C", place, "remote", "add", "origin", mirror.location.url)
    await mirror.git("-C", place, "checkout", "--quiet", "--detach", f"{commit}^{{commit}}")


async def merge(mirror: Mirror, place: Path, commit: str, other: str, name: str) -> None:
    """Merge another commit into the one that is there. Raises Away, NotFetched.

    The same two give the same merge, by name and byte: nobody made it, at the time of the later.
    """
    dates = await mirror.own("log", "--no-walk", "--format=%ct", commit, other)
    when = max(int(line) for line in dates.split())
    now = {f"GIT_{who}_DATE": f"{when} +0000" for who in ("AUTHOR", "COMMITTER")}
    words = ("merge", "--quiet", "--no-ff", "--no-edit", "-m", f"Merge {name}", other)
    try:
        await mirror.git("-C", place, *words, settings=now)
    except GitFailed as failed:
        conflict = await mirror.git("-C", place, "diff", "--name-only", "--diff-filter=U", "-z")
        if files := conflict.decode(errors="replace").split("\0")[:-1]:
            more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
            raise mistaken(f"merge conflict in {', '.join(files[:NAMED])}{more}") from failed
        if failed.is_damage:
            mirror.found_broken()
            raise Away(f"the mirror is damaged: {failed.reason}") from failed
        raise failed.verdict() from failed
