"""The object store: what is large lies there, in a folder or in S3, under a name of its own.

An object is there whole or not at all, and is never changed. Who puts what is there already puts
the same: names say what is in them, as a digest or as a place in a log.
"""

import os
from asyncio import to_thread
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from adapters.log import Unavailable

PART: Final = 5 * 1024 * 1024
"""Bytes of a part of a large object; S3 takes no smaller ones."""

PARTS: Final = 2
"""Parts of one object that are on their way at the same time: so much memory each upload takes."""

TIMEOUT: Final = 30
"""Seconds that a request to S3 may take, a part's too."""

RETRIES: Final = 3
PATIENCE: Final = timedelta(seconds=10)
"""For how long what went wrong is tried again, at most; who has asked tries again by himself."""

PIECE: Final = 64 * 1024
"""Bytes that are read at once, about."""


class NoObject(Exception):
    """There is no such object."""


class Objects:
    """Objects by name, which is a path of words. Raises Unavailable."""

    def __init__(self, store: LocalStore | S3Store, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    async def put(self, name: str, parts: bytes | AsyncIterator[bytes]) -> None:
        """Store an object, and return when it is safe. What *parts* raise, this raises.

        Nothing is there until everything is.
        """
        with _translated(), _placed():
            if isinstance(parts, bytes):
                await obstore.put_async(self._store, name, parts, use_multipart=False)
            else:
                await obstore.put_async(
                    *(self._store, name, parts), chunk_size=PART, max_concurrency=PARTS
                )
            if self._folder is not None:
                await to_thread(_settle, self._folder, self._folder / name)

    async def get(
        self, name: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from *start* up to *end*, in pieces. Raises NoObject."""
        if end is not None and end <= start:
            return
        with _translated():
            range_ = (start, end) if end is not None else {"offset": start}
            options = {"range": range_} if start or end is not None else None
            found = await obstore.get_async(self._store, name, options=options)  # type: ignore[arg-type] # a dict of its own kind
            async for piece in found.stream(PIECE):
                yield bytes(piece)

    async def read(self, name: str) -> bytes:
        """All bytes of a small object. Raises NoObject."""
        with _translated():
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())

    async def size(self, name: str) -> int | None:
        """Its bytes; None if there is no such object."""
        try:
            with _translated():
                return (await obstore.head_async(self._store, name))["size"]
        except NoObject:
            return None

    async def exists(self, name: str) -> bool:
        """Whether it is there, whole."""
        return await self.size(name) is not None

    async def delete(self, name: str) -> None:
        """Have it no more. One that is not there is no error."""
        try:
            with _translated():
                await obstore.delete_async(self._store, name)
        except NoObject:
            return


def open_objects(place: str, data: str) -> Objects:
    """The store at a *place*: `s3://bucket/prefix`, a folder, or the one in the *data* directory.

    For S3 the usual variables say the rest: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
    so on. Raises Unavailable if it cannot be one.
    """
    with _translated():
        if place.startswith("s3://"):
            url = urlsplit(place)
            plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
            store = S3Store(
                url.netloc,
                prefix=url.path.strip("/") or None,
                client_options={"allow_http": plain, "timeout": f"{TIMEOUT} seconds"},
                retry_config={"max_retries": RETRIES, "retry_timeout": PATIENCE},
            )
            return Objects(store)
        folder = Path(place or f"{data}/objects").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return Objects(LocalStore(folder), folder)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NoObject(str(error).partition("\n")[0]) from error
    except (BaseError, OSError) as error:
        raise Unavailable(f"the object store: {str(error).partition(chr(10))[0]}") from error


@contextmanager
def _placed() -> Iterator[None]:
    """Where one puts something, what is missing is not the object."""
    try:
        yield
    except FileNotFoundError as error:
        raise OSError(str(error)) from error


def _settle(root: Path, file: Path) -> None:
    """Have a file survive a loss of power, and the folders that were made for it."""
    for path in (file, *file.parents):
        if os.name != "nt" or path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if path == root:
            return
