"""Repositories in repositories, each by way of a mirror of its own.

`git submodule` would fetch each of them from its server for each attempt, and obey what their
files say of programs to run.
"""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from adapters.sources.attempt import Attempt
from adapters.sources.failures import mistaken
from adapters.sources.git.checkout import check_out
from adapters.sources.git.mirror import Mirror
from adapters.sources.git.revisions import commit
from adapters.sources.git.verdicts import GitFailed
from adapters.sources.urls import Location

DEEPEST: Final = 10
"""Repositories inside one another."""


class Submodule(Struct, frozen=True):
    """One repository in another, by the name that `.gitmodules` gives it."""

    name: str
    path: str
    url: str
    commit: str


async def fill(mirror: Mirror, place: Path, attempt: Attempt, depth: int = 1) -> None:
    """Check out the submodules of the repository at the *place*. Raises NotFetched, Away."""
    for one in await _submodules(mirror, place):
        if depth > DEEPEST:
            raise mistaken(f"submodules are more than {DEEPEST} deep")
        inner = Mirror(_resolved(mirror.location, one, attempt), attempt, mirror.depth)
        there = place / one.path
        await commit(inner, one.commit, there)
        await check_out(inner, one.commit, there)
        await attempt.say(f"{inner.location.shown}: submodule {one.path} is {one.commit}")
        for key, value in (("url", inner.location.url), ("active", "true")):
            await mirror.git("-C", place, "config", f"submodule.{one.name}.{key}", value)
        await fill(inner, there, attempt, depth + 1)


async def _submodules(mirror: Mirror, place: Path) -> list[Submodule]:
    """What the index has of other repositories, with what `.gitmodules` says of them."""
    index = await mirror.git("-C", place, "ls-files", "--stage", "-z")
    links = re.findall(rb"(?:\A|\0)160000 ([0-9a-f]+) 0\t([^\0]+)", index)
    if not links:
        return []
    try:
        # Of the commit, not of the file: that could be a link.
        told = await mirror.git(
            "-C", place, "config", "--blob=HEAD:.gitmodules", "--null", "--list"
        )
    except GitFailed as failed:
        raise mistaken("there are submodules, and no .gitmodules that git can read") from failed
    sections: dict[str, dict[str, str]] = {}
    for entry in told.decode(errors="surrogateescape").split("\0"):
        key, _, value = entry.partition("\n")
        if match := re.fullmatch(r"submodule\.(.+)\.(path|url|update)", key, re.DOTALL):
            sections.setdefault(match[1], {})[match[2]] = value
    by_path = {section.get("path"): (name, section) for name, section in sections.items()}
    found = []
    for name, at in links:
        path = at.decode(errors="surrogateescape")
        if path not in by_path or "url" not in by_path[path][1]:
            raise mistaken(f"no URL of submodule {path!r} is in .gitmodules")
        section = by_path[path][1]
        if section.get("update") != "none":
            found.append(Submodule(by_path[path][0], path, section["url"], name.decode()))
    return found


def _resolved(outer: Location, one: Submodule, attempt: Attempt) -> Location:
    """Where the submodule is. One that begins with a dot is beside the outer repository."""
    url = one.url
    if re.match(r"\.\.?(/|\Z)", url):
        # As git does it: `..` takes one part away from the outer URL, whatever its form.
        base = outer.url.rstrip("/")
        while match := re.match(r"(\.\.?)(/+|\Z)", url):
            if match[1] == "..":
                base = re.sub(r"[/:][^/:]*\Z", "", base)
            url = url[match.end() :]
        url = f"{base}/{url}"
    location = attempt.located(url)
    if location.path is not None and outer.path is None:
        raise mistaken(f"submodule {one.path!r} would be a repository of the runner's machine")
    own = urlsplit(location.url).scheme in ("http", "https") and location.origin == outer.origin
    if own and not (location.username or location.password):
        return replace(location, username=outer.username, password=outer.password)
    return location
