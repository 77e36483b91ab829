"""Secrets: a file of the API's machine says what each is, and which projects may have it.

    [deploy-key]
    value = "…"                     # or: file = "deploy-key.pem", beside this file or absolute
    projects = ["tower", "lib*"]    # without this nobody may have it

A workflow names secrets; their values are looked up when a task is claimed, for that attempt, and
are in no event, log or message. Nothing that is raised here has a value in it.
"""

import asyncio
import os
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,128}\Z")]

LARGEST: Final = 64 * 1024
"""Bytes of a value: it goes into an environment."""


class SecretsUnreadable(Exception):
    """The file cannot be used; says which entry is at fault, and why."""


class SecretRefused(Exception):
    """A project does not get a secret. Whether there is one of this name, it is not told."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"secret {name!r}: {reason}")
        self.name = name
        self.reason = reason


class Secret(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the file: a value, or a file that has it, and who may have it."""

    value: Annotated[str, Meta(min_length=1)] | None = None
    file: Annotated[str, Meta(min_length=1)] | None = None
    projects: tuple[Annotated[str, Meta(min_length=1)], ...] = ()

    def __repr__(self) -> str:
        """Without the value, which would otherwise be in tracebacks."""
        return f"Secret(projects={self.projects!r})"


def files_of(file: str) -> Sequence[Path]:
    """The files that have values, as far as the file of secrets can be understood.

    For who hides them, and must not be stopped by a mistake in there.
    """
    path = Path(file)
    try:
        if not path.is_file():  # a pipe would never end
            return []
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    named = [table.get("file") for table in tables.values() if isinstance(table, dict)]
    files = [path.parent / name for name in named if isinstance(name, str)]
    return [each for each in files if _may_be_one(each)]


def _may_be_one(path: Path) -> bool:
    try:
        return not path.resolve().is_dir()
    except (OSError, RuntimeError, ValueError):  # out of reach, links in a circle, no path at all
        return False


class Secrets:
    """The secrets of a file; none without one. The file is read again when it has changed."""

    def __init__(self, file: str | None) -> None:
        self._path = None if file is None else Path(file)
        self._read: tuple[tuple[int, ...], Mapping[str, Secret]] | None = None

    async def of(self, project: str, names: Iterable[str]) -> dict[str, str]:
        """The values by their names, for a project that may have all of them.

        Raises:
            SecretRefused: there is no such secret, or the project may not have it.
            SecretsUnreadable: the file is wrong, or others can read it.
        """
        wanted = tuple(dict.fromkeys(names))
        return await asyncio.to_thread(self._of, project, wanted) if wanted else {}

    async def check(self) -> None:
        """Read everything, so that a mistake is found when a process starts.

        Raises SecretsUnreadable.
        """
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        for name, secret in self._secrets().items():
            self._value(name, secret)

    def _of(self, project: str, names: tuple[str, ...]) -> dict[str, str]:
        secrets, values = self._secrets(), {}
        for name in names:
            secret = secrets.get(name)
            if secret is None or not any(fnmatchcase(project, one) for one in secret.projects):
                raise SecretRefused(name, f"project {project!r} has none of this name")
            values[name] = self._value(name, secret)
        return values

    def _secrets(self) -> Mapping[str, Secret]:
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                stands = os.fstat(file.fileno())
                _check_mode(self._path, stands)
                state = (stands.st_ino, stands.st_mtime_ns, stands.st_ctime_ns, stands.st_size)
                if self._read is None or self._read[0] != state:
                    self._read = state, _parsed(self._path, file.read())
                return self._read[1]
        except OSError as error:
            raise SecretsUnreadable(f"{self._path}: {error.strerror}") from error

    def _value(self, name: str, secret: Secret) -> str:
        if secret.value is not None:
            return _checked(name, secret.value)
        assert self._path is not None
        assert secret.file is not None
        path = self._path.parent / secret.file
        try:
            with path.open("rb") as file:
                _check_mode(path, os.fstat(file.fileno()))
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise SecretsUnreadable(f"[{name}]: {path}: {error.strerror}") from error
        try:
            # Editors end a file with a line's end, which nobody means.
            return _checked(name, content.decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise SecretsUnreadable(f"[{name}]: {path}: it is no text in UTF-8") from None


def _check_mode(path: Path, stands: os.stat_result) -> None:
    if not stat.S_ISREG(stands.st_mode):
        raise SecretsUnreadable(f"{path}: it is no file")
    if stands.st_mode & 0o077:
        mode = stat.S_IMODE(stands.st_mode)
        raise SecretsUnreadable(
            f"{path}: others may read or change it (mode {mode:03o}); make it 600"
        )


def _parsed(path: Path, content: bytes) -> Mapping[str, Secret]:
    try:
        tables: dict[str, Any] = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise SecretsUnreadable(f"{path}: it is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        # What it says may name a key, which in a broken line may be half of a value.
        place = str(error)[str(error).rfind("(") :]
        raise SecretsUnreadable(f"{path}: it is no TOML {place}") from None
    secrets = {}
    for name, table in tables.items():
        try:
            msgspec.convert(name, Name)
            secret = msgspec.convert(table, Secret)
        except msgspec.ValidationError as error:
            raise SecretsUnreadable(f"{path}: [{name}]: {error}") from None
        if (secret.value is None) == (secret.file is None):
            raise SecretsUnreadable(f"{path}: [{name}]: it has either a `value` or a `file`")
        secrets[name] = secret
    return secrets


def _checked(name: str, value: str) -> str:
    if not value or "\0" in value or len(value.encode(errors="replace")) > LARGEST:
        raise SecretsUnreadable(
            f"[{name}]: a value has 1 to {LARGEST} bytes, and no NUL: it goes into an environment"
        )
    return value
