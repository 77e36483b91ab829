"""Masking: secrets that are known do not leave this machine in a log.

Whatever lies in an occurrence of a secret is covered, also where occurrences overlap, and each
covered stretch becomes one mask. However the bytes come, in one piece or one by one, the same comes
out: what may yet become a secret is held back until it is one or is not.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Final

MASK: Final = b"***"

LINE: Final = 4
"""Bytes that a line of a secret of several lines must have to be a secret by itself: a bracket
alone says nothing."""

ENCODED: Final = 8
"""Bytes from which on a secret is looked for in Base64 too."""


def forms(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """What is looked for: each secret, its lines where it has several, and both in Base64."""
    found: dict[bytes, None] = {}
    for secret in secrets:
        whole = secret.encode(errors="surrogateescape").strip()
        lines = [line.strip() for line in whole.splitlines()]
        if len(lines) > 1:
            lines = [line for line in lines if len(line) >= LINE]
        for form in lines:
            if form:
                found[form] = None
        if len(whole) >= ENCODED:
            for encoded in (b64encode(whole), urlsafe_b64encode(whole)):
                found[encoded.rstrip(b"=")] = None
    return tuple(found)


class Masking:
    """Masks a stream of bytes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = forms(secrets)
        self._held = b""
        self._covered = 0
        """So many of the bytes that are held back are in an occurrence that has begun before."""
        self._masks = False
        """Whether what was given out last was a mask, which goes on."""

    def feed(self, data: bytes) -> bytes:
        """What can be said by now."""
        if not self._forms:
            return data
        data = self._held + data
        until = len(data) - self._undecided(data)
        return self._give(data, until)

    def end(self) -> bytes:
        """What was held back; nothing follows."""
        return self._give(self._held, len(self._held))

    def _give(self, data: bytes, until: int) -> bytes:
        """What is before a place, masked; the rest is held back."""
        if not until:
            self._held = data
            return b""
        out = bytearray()
        at, rest = 0, 0
        for start, end in self._stretches(data):
            if start >= until:
                break
            if start > at:
                out += data[at:start]
                self._masks = False
            if not self._masks:
                out += MASK
                self._masks = True
            rest = max(0, end - until)
            at = min(end, until)
        if at < until:
            out += data[at:until]
            self._masks = False
        self._held, self._covered = data[until:], rest
        return bytes(out)

    def _stretches(self, data: bytes) -> Iterator[tuple[int, int]]:
        """What is covered, in order and without overlaps."""
        found = [(0, self._covered)] if self._covered else []
        for form in self._forms:
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + 1)
        begun, ended = 0, 0
        for start, end in sorted(found):
            if start > ended or not ended:
                if ended:
                    yield begun, ended
                begun = start
            ended = max(end, ended)
        if ended:
            yield begun, ended

    def _undecided(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        most = 0
        for form in self._forms:
            tail = data[max(0, len(data) - len(form) + 1) :]
            at = tail.find(form[:1])
            while at >= 0:
                if form.startswith(tail[at:]):
                    most = max(most, len(tail) - at)
                    break
                at = tail.find(form[:1], at + 1)
        return most
