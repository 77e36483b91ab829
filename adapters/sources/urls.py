"""What a URL may be. It comes from whoever opened the ticket, and programs are told it.

A name or password in a URL is for the server only: it is taken out here, once, and what is left
may be shown, logged and seen in a list of processes.
"""

import re
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from adapters.sources.failures import mistaken

GIT: Final = frozenset({"http", "https", "ssh", "git", "file"})
"""How a repository may be reached. `ext::` and its like run programs, and are not."""

_SCP: Final = re.compile(
    r"(?:[A-Za-z0-9._~+][A-Za-z0-9._~+-]*@)?"
    r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*):(?!:)\S.*"
)
"""`user@host:path`, as ssh's own programs write it."""


class Location(Struct, frozen=True):
    """A URL without what is secret in it, and that."""

    url: str
    username: str = ""
    password: str = ""

    @property
    def key(self) -> str:
        """The location's name among files. Other credentials may see other things: other key."""
        told = "\0".join((self.url, self.username, self.password))
        return sha256(told.encode(errors="surrogateescape")).hexdigest()[:40]

    @property
    def shown(self) -> str:
        """For people: a query may hold a signature, so it stays away."""
        return self.url.partition("?")[0]

    @property
    def path(self) -> Path | None:
        """Where it is, if it is on this machine."""
        if self.url.startswith("/"):
            return Path(self.url)
        parts = urlsplit(self.url) if self.url.startswith("file:") else None
        return Path(unquote(parts.path)) if parts else None

    @property
    def origin(self) -> str:
        """Scheme, host and port of a URL that has them."""
        return self.url[: self.url.find("/", self.url.find("://") + 3)]


def located(url: str, schemes: Collection[str] = GIT) -> Location:
    """What a source's URL means. Raises NotFetched."""
    if url.startswith("-") or re.match(r"[A-Za-z0-9+.-]*::", url) or re.search(r"[\x00-\x1f]", url):
        raise mistaken("the URL is none: it would be an option or a program")
    if url.startswith("/"):
        return Location(url)
    scheme, is_there, _ = url.partition("://")
    if is_there:
        if scheme.lower() not in schemes:
            known = ", ".join(sorted(schemes))
            raise mistaken(f"the URL begins with none of {known}")
        return _split(url)
    if "ssh" in schemes and _SCP.fullmatch(url):
        return Location(url)
    raise mistaken("the URL is neither one nor an absolute path")


def _split(url: str) -> Location:
    try:
        parts = urlsplit(url)
        host = _host(parts)
    except ValueError as error:
        raise mistaken("the URL cannot be read") from error
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if (parts.hostname or "").startswith("-") or re.search(r"[\x00-\x1f]", username + password):
        raise mistaken("the URL has a strange host or user")
    if parts.scheme == "file":
        return Location(parts._replace(netloc="").geturl())
    if not parts.hostname:
        raise mistaken("the URL has no host")
    if parts.scheme == "ssh":
        # A name is no secret there; keys and agents are what one is known by.
        user = f"{parts.username}@" if parts.username else ""
        return Location(parts._replace(netloc=user + host).geturl())
    return Location(parts._replace(netloc=host).geturl(), username, password)


def _host(parts: SplitResult) -> str:
    """Host and port as they are written."""
    _ = parts.port  # raises ValueError for one that is none
    return parts.netloc.rpartition("@")[2]
