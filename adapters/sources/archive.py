"""An archive by URL and digest: what it says of itself must be what the ticket said of it.

The digest decides: a file that is not the one that was meant is never unpacked. `revision` is
`sha256:HEX`.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

import httpx

from adapters.sources.attempt import Attempt
from adapters.sources.failures import Away, mistaken, unavailable
from adapters.sources.places import parameters
from adapters.sources.threads import in_thread
from adapters.sources.unpacking import unpack
from adapters.sources.urls import Location
from domain.sources import Archive
from domain.workflow import Source

LARGEST: Final = 8 * 1024**3
"""Bytes of an archive."""

PART: Final = 1 << 20
"""Bytes that are read together."""

SILENCE: Final = httpx.Timeout(60.0, connect=20.0)
"""Seconds without a byte, after which a server is taken for gone."""

LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of servers that may say something else in a moment."""


async def place(source: Source, place: Path, attempt: Attempt) -> None:
    """Download, check and unpack the archive. Raises NotFetched, Away, OSError."""
    asked = parameters(source, Archive)
    location = attempt.located(source.url, ("http", "https", "file"))
    digest = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", source.revision or "")
    if digest is None:
        raise mistaken("the revision of an archive is its digest, as `sha256:` and 64 hex digits")
    # Beside the place: on its disk, and gone with the attempt whatever happens.
    with tempfile.TemporaryFile(dir=place) as file:
        await attempt.say(f"Fetching {location.shown}")
        found = await _download(location, file)
        if found != digest[1].lower():
            raise mistaken(f"{location.shown} is not what was meant: its digest is sha256:{found}")
        count = await in_thread(partial(unpack, file, place, asked.strip))
    await attempt.say(f"Unpacked {count} files of {location.shown}")


async def _download(location: Location, file: IO[bytes]) -> str:
    """Everything that is there, in the file; its digest."""
    digest, size = sha256(), 0
    async with aclosing(_parts(location)) as parts:
        async for part in parts:
            digest.update(part)
            size += len(part)
            if size > LARGEST:
                raise mistaken(f"{location.shown} has more than {LARGEST} bytes")
            await asyncio.to_thread(file.write, part)
    file.flush()
    return digest.hexdigest()


def _parts(location: Location) -> AsyncGenerator[bytes, None]:
    if location.path is None:
        return _over_http(location)
    return _from_here(location.path, location)


async def _from_here(path: Path, location: Location) -> AsyncGenerator[bytes, None]:
    if not await asyncio.to_thread(path.is_file):
        raise mistaken(f"there is no file {location.shown}")
    with await asyncio.to_thread(path.open, "rb") as file:
        while part := await asyncio.to_thread(file.read, PART):
            yield part


async def _over_http(location: Location) -> AsyncGenerator[bytes, None]:
    """The bytes as the server has them. Raises Away where they end too soon."""
    who = (location.username, location.password)
    plain = {"accept-encoding": "identity"}
    client = httpx.AsyncClient(
        auth=who if any(who) else None, timeout=SILENCE, follow_redirects=True, headers=plain
    )
    try:
        async with client, client.stream("GET", location.url) as answer:
            _check(answer.status_code, location)
            async for part in answer.aiter_raw(PART):
                yield part
    except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise mistaken(f"{location.shown} leads nowhere") from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Away(f"{location.shown} did not come whole: {reason}") from error


def _check(status: int, location: Location) -> None:
    if status == 200:
        return
    reason = f"{location.shown}: the server says {status}"
    if status in LATER or status >= 500:
        raise Away(reason)
    raise unavailable(reason) if status in (401, 403, 407) else mistaken(reason)
