"""The form of a snapshot's parts: streams as they are in memory, and hashes of those that left."""

import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from importlib.metadata import version
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.snapshots import Damaged
from domain.decider import Deciders
from domain.stream import Stream
from workers.hashes import Hashes

FORM: Final = 1
"""Of the parts themselves; the states' own forms are told by their types."""

STREAMS: Final = 500
"""Streams that are encoded at once: some milliseconds, unless they are large."""

SIZE: Final = 256 * 1024
"""Bytes after which no more streams go into a part."""


class _Stored(Struct):
    """A `Stream` whose state is not decoded yet: its type follows from the id."""

    id: str
    state: Raw
    version: int = 0
    accepted: dict[bytes, int] = {}


class _Streams(Struct, tag="streams"):
    streams: list[Raw]


class _Hashes(Struct, tag="hashes"):
    first: int
    shards: list[bytes]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Streams | _Hashes).decode
_decode_stream: Final = msgspec.msgpack.Decoder(_Stored).decode


def streams_part(streams: Iterator[Stream]) -> bytes:
    """A part of the next ones, as many as may be encoded at once."""
    encoded: list[Raw] = []
    size = 0
    for stream in islice(streams, STREAMS):
        one = _encode(stream)
        encoded.append(Raw(one))
        size += len(one)
        if size > SIZE:
            break
    return _encode(_Streams(encoded)) if encoded else b""


def hashes_parts(hashes: Hashes) -> Iterator[bytes]:
    """Parts of all of them; nothing may be added meanwhile."""
    first, size, some = 0, 0, list[bytes]()
    for number, shard in enumerate(hashes.shards()):
        some.append(shard)
        size += len(shard)
        if size > SIZE:
            yield _encode(_Hashes(first, some))
            first, size, some = number + 1, 0, []
    if some:
        yield _encode(_Hashes(first, some))


class Form:
    """The form of the states of some kinds; its `digest` tells it from any other's.

    Another version of the program may fold the same events to another state of the same form.
    """

    def __init__(self, deciders: Deciders) -> None:
        kinds = {decider.kind: decider.state for decider in deciders}
        schemas = msgspec.json.schema_components([Stream, *kinds.values()])
        what = (FORM, version("turnstile-server"), sys.byteorder, list(kinds), schemas)
        self.digest = blake2b(msgspec.json.encode(what, order="sorted"), digest_size=16).digest()
        self._states: dict[str, Callable[[Raw], Any]] = {
            kind: msgspec.msgpack.Decoder(state).decode for kind, state in kinds.items()
        }

    def streams(self, part: bytes, hashes: Hashes) -> Iterable[Stream]:
        """The streams of a part; what it has of hashes goes into *hashes*. Raises Damaged."""
        try:
            found = _decode(part)
            if isinstance(found, _Streams):
                return [self._stream(one) for one in found.streams]
            for number, shard in enumerate(found.shards, found.first):
                hashes.put(number, shard)
            return ()
        except (msgspec.MsgspecError, LookupError, ValueError) as error:
            raise Damaged(f"a part cannot be read: {error}") from error

    def _stream(self, encoded: Raw) -> Stream:
        stored = _decode_stream(encoded)
        state = self._states[stored.id.partition("/")[0]](stored.state)
        return Stream(stored.id, state, stored.version, stored.accepted)
