"""The credential of an attempt: with it a task does what is its own, and nothing else.

Nobody stores one. It says whose it is, and is signed with a key that all API processes share.
Whether the attempt is still the present one is asked at each use.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

PREFIX: Final = "turnstile_attempt_"
"""What credentials begin with, so that people and scanners of leaked secrets know one."""

SIGNATURE: Final = 16
"""Bytes of a signature."""


class AttemptOf(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whose credential it is: an attempt, by its token, of a task, and the worker that has it."""

    ticket: str
    token: int
    task: str
    worker: str


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(AttemptOf).decode


class Credentials:
    """Makes and knows them, with a *key* of at least 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, attempt: AttemptOf) -> str:
        """The credential of an attempt, always the same."""
        said = _encode(attempt)
        return PREFIX + urlsafe_b64encode(self._signature(said) + said).decode().rstrip("=")

    def read(self, credential: str) -> AttemptOf | None:
        """Whose it is; None if we have not made it."""
        if not credential.startswith(PREFIX):
            return None
        text = credential.removeprefix(PREFIX)
        try:
            signed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (Error, ValueError):
            return None
        signature, said = signed[:SIGNATURE], signed[SIGNATURE:]
        if not hmac.compare_digest(signature, self._signature(said)):
            return None
        return _decode(said)

    def _signature(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, sha256)[:SIGNATURE]
