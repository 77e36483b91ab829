"""What a dead letter keeps of the record that it was: all of it, or a part of a very large one."""

from typing import Any, Final

from msgspec import Struct

WHOLE: Final = 1_500_000
"""Bytes of a record that is put aside as it came; of a larger one (it was compressed) a part is."""

PART: Final = 256 * 1024

Headers = list[tuple[str, bytes | None]]


class Unreadable(Struct, frozen=True):
    """Where a record is that aiokafka cannot read; that is all that is known of it."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Kept(Struct, frozen=True):
    """Key, value and headers; `cut` are headers that tell of how large it was."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    cut: Headers


def kept(record: Any) -> Kept:
    """What is kept of a record of aiokafka's, or of an unreadable one."""
    key, value, headers = record.key, record.value, list(record.headers)
    size = len(key or b"") + len(value or b"")
    size += sum(len(name.encode()) + len(given or b"") for name, given in headers)
    if size <= WHOLE:
        # aiokafka sends no record of nothing at all.
        return Kept(key, b"" if key is None and value is None else value, headers, [])
    cut: Headers = [("cut", str(size).encode())]
    return Kept(key and key[:PART], value and value[:PART], [], cut)
