"""The secrets' port: what a project's tasks may know, by name."""

from collections.abc import Collection, Mapping
from typing import Protocol


class SecretRefused(Exception):
    """A secret is not there, or not for the project."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"secret {name!r}: {reason}")
        self.name = name
        self.reason = reason


class Secrets(Protocol):
    """Knows secrets."""

    async def of(self, project: str, names: Collection[str]) -> Mapping[str, str]:
        """Their values, by name. Raises SecretRefused."""
        ...


class NoSecrets:
    """Nobody has told any."""

    async def of(self, project: str, names: Collection[str]) -> Mapping[str, str]:
        """Raises SecretRefused if there is any name."""
        for name in names:
            raise SecretRefused(name, "this service knows no secrets")
        return {}
