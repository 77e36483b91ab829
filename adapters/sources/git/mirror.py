"""A repository as this machine has it: one bare mirror for each URL, shared by all attempts.

Whatever is here costs the server nothing. What is not is asked for once, however many want it:
they wait for one another, and look again when it is their turn. Objects are never taken away
while the mirror is there, and it is there as long as the directory of an attempt that borrows.

A mirror whose writer was killed is tidied up by the next one; one that is damaged is made anew.
"""

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
from msgspec import Struct

from adapters.sources.attempt import Attempt
from adapters.sources.failures import Away
from adapters.sources.git.locks import Taken, locked
from adapters.sources.git.program import Git
from adapters.sources.git.verdicts import GitFailed
from adapters.sources.threads import Wanted, in_thread
from adapters.sources.urls import Location

FETCH: Final = (
    *("fetch", "--quiet", "--force", "--prune", "--no-auto-gc", "--no-write-fetch-head"),
    "--no-recurse-submodules",
)

EVERYTHING: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
"""All branches and tags."""

LOOKS: Final = 0.1
"""Seconds between two looks at what somebody else fetches, at most."""

PINNED: Final = "refs/turnstile/commits"
"""Where a commit that was fetched by its name stays."""

ASKED: Final = "refs/turnstile/asked"
"""Where what a ref was stays, below the name of the commit that was looked for there."""


class Answer(Struct, frozen=True):
    """What the server has said of a name: when it was asked, and what it called the name."""

    asked: float
    ref: str = ""
    commit: str = ""


class Mirror:
    """The mirror of one URL; with a *depth* one of its own, where histories are that short.

    Attributes:
        directory: the bare repository.
    """

    def __init__(self, location: Location, attempt: Attempt, depth: int | None = None) -> None:
        self.location = location
        self.depth = depth
        name = location.key if depth is None else f"{location.key}-{depth}"
        self.directory = attempt.mirrors / name
        self.git = Git(attempt.environment)
        self._attempt = attempt
        self._present = attempt.mirrors / f"{name}.present"
        self._writing = attempt.mirrors / f"{name}.writing"

    async def own(self, *arguments: str, holding: tuple[int, ...] = ()) -> bytes:
        """What git says of the mirror. Raises GitFailed."""
        return await self.git(
            f"--git-dir={self.directory}", *arguments, remote=self.location, holding=holding
        )

    async def has(self, commit: str) -> bool:
        """Whether the commit is here, with as much history as is wanted."""
        if not (self.directory / "HEAD").exists() or self._broken.exists():
            return False
        if self.depth is None:
            return await self._are_one(commit)
        # It may be the end of another's history: only what was asked for is deep enough.
        return await self._are_one(commit, f"{PINNED}/{commit}") or await self._are_one(
            commit, f"{ASKED}/{commit}"
        )

    async def _are_one(self, *names: str) -> bool:
        """Whether all of them are names of one commit that is here."""
        try:
            # It reads the commit to find it: a name alone would be taken for granted.
            found = await self.own("rev-parse", *(f"{name}^{{commit}}" for name in names))
        except GitFailed:
            return False
        return len(set(found.split())) == 1

    async def borrow(self, commit: str, place: Path) -> bool:
        """Whether the commit is here; if so, it stays as long as the *place* does."""
        async with locked(self._present, shared=True):
            if not await self.has(commit):
                return False
            borrowers = self.directory / "borrowers"
            borrowers.mkdir(exist_ok=True)
            name = sha256(str(place).encode(errors="surrogateescape")).hexdigest()
            (borrowers / name).write_text(str(place))
            (self.directory / "used").touch()
            self._attempt.borrowed.add(self.objects)
            return True

    async def obtain(self, commit: str, *ways: Sequence[str]) -> None:
        """Fetch until the commit is here: each way is what to ask the server for.

        It may be missing afterwards, if the server does not have it. Raises Away, NotFetched.
        """
        seen = self._fetched()
        while True:
            try:
                async with self._at_work(waits=False) as lock:
                    await self._obtain(commit, ways, lock)
                    return
            except Taken:
                await asyncio.sleep(random.uniform(0, LOOKS))
            # All who wait see what was fetched at once, not one after the other.
            if (now := self._fetched()) != seen:
                seen = now
                if await self.has(commit):
                    return

    async def _obtain(self, commit: str, ways: Sequence[Sequence[str]], lock: int) -> None:
        for refs in ways:
            if await self.has(commit):
                return
            await self._attempt.say(f"Fetching {' '.join(refs)} from {self.location.shown}")
            try:
                await self._fetch(refs, lock, "sha256" if len(commit) == 64 else "sha1")
            except GitFailed as failed:
                if not failed.is_absent:
                    raise self._verdict(failed) from failed

    async def answer(self, name: str, since: float) -> Answer:
        """What the server calls a name. One that was given after *since* is new enough.

        Raises Away, NotFetched.
        """
        async with self._at_work():
            note = self.directory / "answers" / sha256(name.encode()).hexdigest()
            with suppress(OSError, msgspec.DecodeError):
                known = msgspec.json.decode(note.read_bytes(), type=Answer)
                if since <= known.asked <= time.time():
                    return known
            asked = time.time()
            refs = [name] if name == "HEAD" or name.startswith("refs/") else []
            refs = refs or [f"refs/tags/{name}", f"refs/heads/{name}"]
            try:
                asks = [pattern for ref in refs for pattern in (ref, f"{ref}^{{}}")]
                lines = await self.own("ls-remote", "--quiet", "origin", *asks)
            except GitFailed as failed:
                raise self._verdict(failed) from failed
            told = (line.split("\t", 1) for line in lines.decode(errors="replace").splitlines())
            found = {ref: commit for commit, ref in told}
            answer = Answer(asked)
            for ref in refs:
                if ref in found:
                    # A tag that says something is an object of its own, and stands for a commit.
                    answer = Answer(asked, ref, found.get(f"{ref}^{{}}", found[ref]))
                    break
            note.parent.mkdir(exist_ok=True)
            beside = note.with_name(f"{note.name}-{uuid4().hex}")
            beside.write_bytes(msgspec.json.encode(answer))
            beside.replace(note)
            return answer

    @property
    def objects(self) -> Path:
        """Where its objects are, which are all that borrowers read."""
        return self.directory.absolute() / "objects"

    def found_broken(self) -> None:
        """The next to write makes it anew."""
        with suppress(OSError):
            self._broken.touch()

    def _fetched(self) -> int:
        """Another number after each fetch."""
        try:
            return (self.directory / "fetched").stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def _broken(self) -> Path:
        return self.directory / "broken"

    @asynccontextmanager
    async def _at_work(self, *, waits: bool = True) -> AsyncIterator[int]:
        """The only one who writes, in a mirror that is in order. Gives the lock; raises Taken."""
        async with locked(self._writing, waits=waits) as lock:
            if self._broken.exists():
                await self._attempt.say(f"The mirror of {self.location.shown} is made anew")
                async with locked(self._present):
                    await remove(self.directory)
            async with locked(self._present, shared=True):
                self.directory.mkdir(exist_ok=True)
                yield lock

    async def _fetch(self, refs: Sequence[str], lock: int, names: str) -> None:
        """Fetch, leaving a mark while it lasts. *names* is the form of commits' names.

        Raises GitFailed.
        """
        mark = self.directory / "unfinished"
        if mark.exists():
            await in_thread(partial(_tidy, self.directory))
        mark.touch()
        try:
            await self._ask(refs, lock, names)
        except GitFailed as failed:
            if failed.status > 0:  # it could still tidy up after itself
                mark.unlink()
            raise
        mark.unlink()
        for name in ("used", "fetched"):
            (self.directory / name).touch()

    async def _ask(self, refs: Sequence[str], lock: int, names: str) -> None:
        if not (self.directory / "HEAD").exists():
            form = f"--object-format={names}"
            await self.own("init", "--quiet", "--bare", "--template=", form, holding=(lock,))
        few = () if self.depth is None else (f"--depth={self.depth}", "--no-tags")
        await self.own(*FETCH, *few, "origin", *refs, holding=(lock,))
        await self.own("gc", "--auto", "--quiet", holding=(lock,))

    def _verdict(self, failed: GitFailed) -> Exception:
        if failed.is_damage:
            self.found_broken()
            return Away(f"the mirror is damaged: {failed.reason}")
        return failed.verdict()


def _tidy(directory: Path, wanted: Wanted) -> None:
    """Take away the locks and halves of packs that a killed git has left."""
    for pattern in ("*.lock", "refs/**/*.lock", "objects/**/tmp_*", "objects/**/*.lock", "gc.pid"):
        for left in directory.glob(pattern):
            wanted.check()
            left.unlink(missing_ok=True)


async def remove(directory: Path) -> None:
    """Take a mirror away; whoever is killed over it leaves none that is half there."""
    await in_thread(partial(_remove, directory))


def _remove(directory: Path, wanted: Wanted) -> None:
    gone = directory.with_name(f"{directory.name}.gone-{uuid4().hex}")
    with suppress(FileNotFoundError):
        directory.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
