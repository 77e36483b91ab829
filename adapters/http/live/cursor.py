"""Cursors: up to where a reader of the stream has read each partition, as text."""

import base64
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final
from uuid import UUID

from domain.errors import Invalid

FORM: Final = 1
"""The first byte of a cursor."""

TAG: Final = 6
"""Bytes that tell one log from another."""

HEADER: Final = "Last-Event-ID"
LONGEST: Final = 16 * 1024


class Vector:
    """A position in every partition, which moves; its text is made anew for what has moved."""

    def __init__(self, tag: bytes, positions: Sequence[int]) -> None:
        self.positions = list(positions)
        self._tag = tag
        self._parts = [_varint(n) for n in positions]

    def move(self, partition: int, sequence: int) -> None:
        """An event has been passed."""
        self.positions[partition] = sequence
        self._parts[partition] = _varint(sequence)

    def copy(self) -> "Vector":
        """One that moves by itself."""
        return Vector(self._tag, self.positions)

    def __str__(self) -> str:
        packed = b"%c%b%b" % (FORM, self._tag, b"".join(self._parts))
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


class Cursors:
    """Writes and reads the cursors of one log, whose partitions have these ids."""

    def __init__(self, log: Sequence[UUID]) -> None:
        self._tag = blake2b(b"".join(id_.bytes for id_ in log), digest_size=TAG).digest()
        self._partitions = len(log)

    def at(self, positions: Sequence[int]) -> Vector:
        """The vector of these positions."""
        return Vector(self._tag, positions)

    def read(self, text: str) -> Vector:
        """The vector that a cursor is. Raises Invalid."""
        if len(text) > LONGEST:
            raise _invalid()
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            form, tag, rest = packed[0], packed[1 : TAG + 1], packed[TAG + 1 :]
            positions = list(_numbers(rest))
        except (ValueError, IndexError):
            raise _invalid() from None
        if form != FORM or len(tag) != TAG:
            raise _invalid()
        if tag != self._tag:
            raise Invalid(field=HEADER, reason="it is of another log")
        if len(positions) != self._partitions or str(vector := self.at(positions)) != text:
            raise _invalid()
        return vector


def _invalid() -> Invalid:
    return Invalid(field=HEADER, reason="it is none that was handed out")


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise ValueError("a sequence is smaller")
        if not byte & 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("it ends within a number")
