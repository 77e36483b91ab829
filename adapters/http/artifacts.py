"""Endpoints of artifacts: files that tasks leave, each once, under the digest of what is in it."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Final
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct
from starlette.responses import Response

from adapters.credentials import AttemptOf
from adapters.http.attempts import Present, at_work, no_attempt, token_of
from adapters.http.endpoint import Asked, Endpoint, Raw, Text
from adapters.http.problems import Refusal
from adapters.http.ranges import HEADERS, Downloads, Ranged
from adapters.objects import NoObject, Objects
from adapters.postgres.views.attempts import AttemptQueries
from domain.errors import Invalid
from domain.ticket.words import Artifact
from projections.queries import Page

MEDIA: Final = "application/octet-stream"

UPLOADS: Final = 16
"""Artifacts that come in at the same time: each takes some parts' memory."""

OWN: Final = 4
"""Artifacts of one attempt that come in at the same time, as many as a runner sends."""

PATIENCE: Final = 10.0
"""Seconds for which one that comes in waits for its turn."""

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII).fullmatch


class Stored(Struct, frozen=True):
    """What is there now."""

    digest: str
    size: int


class Checked:
    """A body as it comes, of which the end is only there if it is what the digest says.

    Nor is it if who sends it may not *still* do so, which may have changed on the way.
    """

    def __init__(
        self, body: AsyncIterator[bytes], hex_: str, still: Callable[[], Awaitable[object]]
    ) -> None:
        self.size = 0
        """Bytes that have come."""
        self._body = body
        self._hex = hex_
        self._still = still

    async def parts(self) -> AsyncIterator[bytes]:
        """Its parts. Raises Invalid behind the last of them if it is something else."""
        hashed = sha256()
        async for part in self._body:
            hashed.update(part)
            self.size += len(part)
            yield part
        if hashed.hexdigest() != self._hex:
            reason = f"what was sent has the digest sha256:{hashed.hexdigest()}"
            raise Invalid(field="digest", reason=reason)
        await self._still()


class ArtifactDesk:
    """Takes artifacts in and gives them out; at most *limit* bytes each.

    However many *downloads* readers have open, attempts get what they take.
    """

    def __init__(
        self,
        objects: Objects,
        attempts: AttemptQueries,
        present: Present,
        downloads: Downloads,
        limit: int,
    ) -> None:
        self._objects = objects
        self._attempts = attempts
        self._present = present
        self._downloads = downloads
        self._inputs = Downloads()
        self._limit = limit
        self._turn = asyncio.Semaphore(UPLOADS)
        self._own: WeakValueDictionary[AttemptOf, asyncio.Semaphore] = WeakValueDictionary()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """By digest, and by attempt."""
        one, many = "/v1/artifacts/{digest}", "/v1/tickets/{ticket}/attempts/{token}/artifacts"
        return (
            Endpoint(
                "PUT",
                one,
                "Store an artifact",
                Stored,
                self.put_artifact,
                raw=Raw(self._limit, streamed=True),
                scope=None,
                for_attempts=True,
            ),
            Endpoint(
                "GET",
                one,
                "An artifact by its digest",
                Text,
                self.artifact,
                headers=HEADERS,
                media=MEDIA,
                ranges=True,
                for_attempts=True,
                problems=(404, 409, 416, 429),
            ),
            Endpoint(
                "GET",
                many,
                "The artifacts of an attempt",
                Page[Artifact],
                self.artifacts,
                problems=(404,),
            ),
            Endpoint(
                "GET",
                many + "/{name:path}",
                "An artifact of an attempt by its name",
                Text,
                self.artifact_of_attempt,
                headers=HEADERS,
                media=MEDIA,
                ranges=True,
                problems=(404, 416, 429),
            ),
        )

    async def put_artifact(self, digest: str, body: AsyncIterator[bytes], asked: Asked) -> Stored:
        """Store what was sent, if it is what the digest says; what is there is not read again.

        Raises Refusal, Invalid and TooLarge.
        """
        still = partial(at_work, asked, self._present)
        attempt = await still()
        hex_ = _hex(digest)
        size = await self._objects.size(_object(hex_))
        if size is None:
            checked = Checked(body, hex_, still)
            async with self._in_turn(attempt):
                await self._objects.put(_object(hex_), checked.parts())
            size = checked.size
        return Stored(digest, size)

    @asynccontextmanager
    async def _in_turn(self, attempt: AttemptOf) -> AsyncIterator[None]:
        """One of those that may come in at the same time. Raises Refusal if it takes too long."""
        own = self._own.setdefault(attempt, asyncio.Semaphore(OWN))
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(PATIENCE):
                    await turns.enter_async_context(own)
                    await turns.enter_async_context(self._turn)
            except TimeoutError as error:
                detail = (
                    f"{UPLOADS} artifacts are on their way to this server, or {OWN} of this "
                    "attempt, and no more."
                )
                raise Refusal(503, "busy", detail, headers={"Retry-After": "1"}) from error
            yield

    async def artifact(
        self,
        digest: str,
        range: str | None,
        if_range: str | None,
        if_none_match: str | None,
        asked: Asked,
    ) -> Response:
        """What has this digest. Raises Refusal if nothing has, or for an attempt that is over."""
        downloads = self._downloads
        if asked.attempt is not None:
            await at_work(asked, self._present)
            downloads = self._inputs
        return await self._told(downloads, digest, range, if_range, if_none_match)

    async def artifacts(self, ticket: str, token: str) -> Page[Artifact]:
        """What the attempt has left, once it has ended. Raises Refusal if there is none."""
        return Page(await self._of_attempt(ticket, token))

    async def artifact_of_attempt(
        self,
        ticket: str,
        token: str,
        name: str,
        range: str | None,
        if_range: str | None,
        if_none_match: str | None,
    ) -> Response:
        """What the attempt has left under this name. Raises Refusal if there is nothing."""
        for one in await self._of_attempt(ticket, token):
            if one.name == name:
                return await self._told(
                    self._downloads, one.digest, range, if_range, if_none_match, name
                )
        detail = f"The attempt with token {token} has left no artifact {name!r}."
        raise Refusal(404, "unknown-artifact", detail, "name")

    async def _of_attempt(self, ticket: str, token: str) -> tuple[Artifact, ...]:
        attempt = await self._attempts.attempt(ticket, token_of(ticket, token))
        if attempt is None:
            raise no_attempt(ticket, token)
        return msgspec.json.decode(attempt.artifacts, type=tuple[Artifact, ...])

    async def _told(
        self,
        downloads: Downloads,
        digest: str,
        range_: str | None,
        if_range: str | None,
        if_none_match: str | None,
        name: str | None = None,
    ) -> Response:
        found = _DIGEST(digest)
        object_ = _object(found[1]) if found else ""
        size = await self._objects.size(object_) if found else None
        if size is None:
            detail = f"There is no artifact {digest!r}."
            raise Refusal(404, "unknown-artifact", detail, "digest")

        async def read(start: int, end: int) -> AsyncGenerator[bytes, None]:
            try:
                async for piece in self._objects.get(object_, start, end):
                    yield piece
            except NoObject:
                return

        return Ranged(
            downloads,
            read,
            size,
            f'"{digest}"',
            MEDIA,
            range_=range_,
            if_range=if_range,
            if_none_match=if_none_match,
            headers={"Content-Disposition": _attached(name or digest), **_FOR_EVER},
        )


_FOR_EVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}


def _hex(digest: str) -> str:
    found = _DIGEST(digest)
    if found is None:
        raise Invalid(field="digest", reason="it is `sha256:` and 64 hexadecimal digits")
    return found[1]


def _object(hex_: str) -> str:
    return f"artifacts/sha256/{hex_[:2]}/{hex_}"


def _attached(name: str) -> str:
    """To be saved, and never shown, under the last part of a name (RFC 6266)."""
    last = name.rpartition("/")[2] or "artifact"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", last)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}"
