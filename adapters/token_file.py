"""The token of this machine, in the data directory, for nobody but its owner to read."""

import os
from pathlib import Path

from adapters.access import new_token


def token_file(data: str) -> Path:
    """Where it is."""
    return Path(data) / "token"


def kept(data: str) -> str | None:
    """The token that is there, if one is."""
    try:
        return token_file(data).read_text().strip() or None
    except OSError:
        return None


def _keep_out_of_repositories(data: Path) -> None:
    """What is in the data directory is nobody's source, wherever that directory is."""
    ignoring = data / ".gitignore"
    if not ignoring.exists():
        ignoring.write_text("*\n")


def keep(data: str) -> str:
    """The token that is there; a new one if there is none. Raises OSError."""
    if token := kept(data):
        return token
    path, token = token_file(data), new_token()
    path.parent.mkdir(parents=True, exist_ok=True)
    _keep_out_of_repositories(path.parent)
    # Whoever is first wins, and nobody ever reads half of it.
    beside = path.with_name(f".token-{os.getpid()}")
    beside.touch(mode=0o600)
    try:
        beside.write_text(f"{token}\n")
        os.link(beside, path)
    except FileExistsError:
        return path.read_text().strip()
    finally:
        beside.unlink()
    return token
