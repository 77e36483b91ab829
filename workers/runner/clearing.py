"""Removing what a task has left, however deep, however many, and whatever modes it has.

Each directory is emptied into the uppermost one before it is removed: no path becomes long, no
stack deep, and no link is followed.
"""

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

import structlog

log = structlog.get_logger()

PRIVATE: Final = 0o700
"""The mode of a runner's folders: what tasks get is nobody else's affair."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def clear(place: Path) -> None:
    """Remove a place, or say in the log that something of it cannot be."""
    try:
        if place.is_dir() and not place.is_symlink():
            place.chmod(PRIVATE)
            _empty(place)
            place.rmdir()
        else:
            place.unlink(missing_ok=True)
    except OSError as error:
        log.warning("place_not_cleared", place=str(place), reason=str(error))


def _empty(place: Path) -> None:
    top = os.open(place, _FOLDER)
    try:
        waiting = _files_gone(top)
        while waiting:
            name = waiting.pop()
            with suppress(OSError):  # a mount, say: what is left is heard of in the end
                waiting += _raised(top, name)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _raised(top: int, name: str) -> list[str]:
    """Empty a folder of the uppermost one; the folders in it are there now, under these names."""
    os.chmod(name, PRIVATE, dir_fd=top)
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        names = []
        for inner in _files_gone(folder):
            os.chmod(inner, PRIVATE, dir_fd=folder)  # or where its `..` leads cannot be changed
            names.append(f".{token_hex(8)}")
            os.rename(inner, names[-1], src_dir_fd=folder, dst_dir_fd=top)
        return names
    finally:
        os.close(folder)


def _files_gone(folder: int) -> list[str]:
    """Remove whatever is no folder, and say what is one."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders
