"""What is let out of an archive: files, directories, and links that stay inside.

A name that leads out, a device, or more than anybody wants makes the whole archive wrong. Links
are made after all files, so that no file is ever written through one; and `..` may stand only at
the beginning of where a link leads, where directories are what their names say.
"""

import errno
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from msgspec import Struct

from adapters.sources.failures import mistaken
from adapters.sources.threads import Wanted

UNPACKED: Final = 32 * 1024**3
"""Bytes of all files of an archive."""

MEMBERS: Final = 1_000_000
"""Names in an archive."""

PART: Final = 1 << 20
"""Bytes that are copied together."""

UNREADABLE: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    RuntimeError,  # a password, or a method of compression that is not known
)
"""How the codecs say that this is no archive of theirs."""


class Member(Struct, frozen=True):
    """A name in an archive and what it is: a directory, a link, or else a file to be opened."""

    name: str
    open: Callable[[], IO[bytes] | None]
    is_directory: bool = False
    is_program: bool = False
    leads: str | None = None
    """Where a symbolic link leads, seen from its own directory."""
    same: str | None = None
    """Of which file, by its name in the archive, this is another name."""


def unpack(file: IO[bytes], place: Path, strip: int, wanted: Wanted, most: int = UNPACKED) -> int:
    """Unpack a tar file, compressed or not, or a zip file; the number of files and links.

    Raises:
        NotFetched: it is neither, or has in it what is not let out.
        Abandoned: nobody wants it any more.
    """
    unpacking = _Unpacking(place, strip, wanted, most)
    try:
        for n, member in enumerate(_members(file)):
            if n >= MEMBERS:
                raise mistaken(f"the archive has more than {MEMBERS} names")
            unpacking.take(member)
        return unpacking.finish()
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise mistaken("the archive has one name for different things") from error
    except UNREADABLE as error:
        raise mistaken(f"the archive cannot be read: {error}") from error
    except OSError as error:
        # The codecs complain so, too; what the system complains of has a number.
        if error.errno in (None, errno.ENAMETOOLONG):
            raise mistaken(f"the archive cannot be read: {error}") from error
        raise


class _Unpacking:
    def __init__(self, place: Path, strip: int, wanted: Wanted, most: int) -> None:
        self._place = place
        self._strip = strip
        self._wanted = wanted
        self._left = most
        self._files: set[PurePosixPath] = set()
        self._links: dict[PurePosixPath, str] = {}

    def take(self, member: Member) -> None:
        """Unpack a directory or a file, and remember a link."""
        self._wanted.check()
        name = self._name(member.name)
        if name is None:
            return
        there = self._place / name
        if member.is_directory:
            there.mkdir(parents=True, exist_ok=True)
            return
        self._files.discard(name)
        self._links.pop(name, None)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.unlink(missing_ok=True)
        if member.leads is not None:
            self._links[name] = _inside(name, member.leads)
            return
        if member.same is not None:
            same = self._name(member.same)
            if same is None or same not in self._files:
                raise mistaken(f"{member.name!r} is a link to what is not in the archive before it")
            os.link(self._place / same, there)
        else:
            self._write(member, there)
        self._files.add(name)

    def finish(self) -> int:
        """Make the links."""
        for name, leads in self._links.items():
            (self._place / name).symlink_to(leads)
        return len(self._files) + len(self._links)

    def _write(self, member: Member, there: Path) -> None:
        source = member.open()
        if source is None:
            raise mistaken(f"{member.name!r} is neither a file, a directory nor a link")
        with source, there.open("xb") as file:
            while part := source.read(PART):
                self._wanted.check()
                self._left -= len(part)
                if self._left < 0:
                    raise mistaken("the archive is too large when it is unpacked")
                file.write(part)
        there.chmod(0o755 if member.is_program else 0o644)

    def _name(self, given: str) -> PurePosixPath | None:
        """Where it goes; None for what is stripped. Raises NotFetched."""
        name = PurePosixPath(given)
        if name.is_absolute() or ".." in name.parts or "\0" in given or "\\" in given:
            raise mistaken(f"{given!r} leads out of the archive")
        parts = name.parts[self._strip :]
        return PurePosixPath(*parts) if parts else None


def _inside(name: PurePosixPath, leads: str) -> str:
    """The link's target, which stays inside. Raises NotFetched."""
    parts = PurePosixPath(leads).parts
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    if leads.startswith("/") or up >= len(name.parts) or ".." in parts[up:] or not leads:
        raise mistaken(f"the link {str(name)!r} leads out of the archive")
    return leads


def _members(file: IO[bytes]) -> Iterator[Member]:
    file.seek(0)
    # By its beginning: a tar file may well end with a zip file.
    if file.read(4) in (b"PK\3\4", b"PK\5\6"):
        with zipfile.ZipFile(file) as zip_:
            for entry in zip_.infolist():
                yield _of_zip(zip_, entry)
        return
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:*") as tar:
        for info in tar:
            # It keeps all that it has seen, which nobody asks for.
            tar.members = []  # type: ignore[attr-defined]
            yield _of_tar(tar, info)


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    return Member(
        info.name,
        lambda: tar.extractfile(info) if info.isreg() else None,
        is_directory=info.isdir(),
        is_program=bool(info.mode & 0o111),
        leads=info.linkname if info.issym() else None,
        same=info.linkname if info.islnk() else None,
    )


def _of_zip(zip_: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    mode = entry.external_attr >> 16
    is_link = stat.S_ISLNK(mode)
    return Member(
        entry.filename,
        lambda: zip_.open(entry),
        is_directory=entry.is_dir(),
        is_program=bool(mode & 0o111),
        leads=_told(zip_, entry) if is_link else None,
    )


def _told(zip_: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """Where a link in a zip file leads: that is its content."""
    with zip_.open(entry) as file:
        return file.read(4096).decode(errors="surrogateescape")
