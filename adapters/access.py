"""Who may do what: tokens, and the scopes that they have.

A token is a secret that only its holder has: what is kept of it is a digest. It is random and
long, so the digest needs neither salt nor patience.
"""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from secrets import token_urlsafe
from typing import Annotated, Final

from msgspec import Meta, Struct

PREFIX: Final = "turnstile_"
"""What tokens begin with, so that people and scanners of leaked secrets know one."""


class Scope(StrEnum):
    """What a token may be for. None includes another, but every token may read."""

    READ = "read"
    SUBMIT = "submit"
    """Open tickets and let them grow."""
    OPERATE = "operate"
    """Cancel, run again, hold, hurry; workers; dead letters."""
    WORK = "work"
    """Be a worker: claim tasks and report them."""
    ADMIN = "admin"
    """Tokens."""


Name = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f:]{1,64}\Z")]
"""Whose a token is: the actor of what is done with it. A colon would be taken for a delegation."""


class Token(Struct, frozen=True, kw_only=True):
    """What is known of a token, but never the token itself."""

    id: str
    name: Name
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    last_used_at: datetime | None = None


class Identity(Struct, frozen=True):
    """Who asks, and what they may."""

    name: str
    scopes: Collection[Scope]


def new_token() -> str:
    """A token as its holder gets it, once."""
    return PREFIX + token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is kept of a token, and how it is known again."""
    return sha256(token.encode(errors="surrogateescape")).digest()
