"""Equal values that very many states hold are one object: most tickets ask for the same."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

KNOWN: Final = 10_000
"""Values that are remembered; whoever asks for more different ones has them for himself."""


class Shared(Generic[T]):
    """Gives the first of equal values for each of them. Nobody may change it."""

    def __init__(self) -> None:
        self._known: dict[Hashable, T] = {}

    def of(self, key: Hashable, value: T) -> T:
        """The first value that came with an equal *key*."""
        if len(self._known) >= KNOWN:
            self._known.clear()
        return self._known.setdefault(key, value)
