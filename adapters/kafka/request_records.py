"""Records of request topics, as they came in and as dead letters."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from domain.envelope import Submitted

WHOLE: Final = 1_500_000
"""Bytes of a record that is put aside as it came; of a larger one (it was compressed) a part is."""

PART: Final = 256 * 1024
REASON: Final = 1_000
"""Characters of a reason, at most."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Request(Struct, frozen=True):
    """A record of a request topic: a command, or the reason why it is none. `raw` is Kafka's."""

    raw: Any
    submitted: Submitted | None
    reason: str = ""

    def refused(self, reason: str) -> "Request":
        """The same as one that is put aside."""
        return Request(self.raw, None, reason)


class Unreadable(Struct, frozen=True):
    """Where a record is that aiokafka cannot read; that is all that is known of it."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def dead(request: Request) -> dict[str, Any]:
    """The record as it came, and behind its own headers why and where it was put aside.

    Ours are the last of their names, whatever the sender has called its own.
    """
    record = request.raw
    key, value, theirs = record.key, record.value, record.headers
    size = len(key or b"") + len(value or b"")
    size += sum(len(name.encode()) + len(given or b"") for name, given in theirs)
    ours = [
        ("reason", request.reason[:REASON].encode(errors="backslashreplace")),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("at", _instant(record.timestamp).encode()),
    ]
    if size > WHOLE:
        key, value, theirs = key and key[:PART], value and value[:PART], ()
        ours.append(("cut", str(size).encode()))
    if key is None and value is None:
        value = b""  # aiokafka sends no record of nothing at all
    return {"key": key, "value": value, "headers": [*theirs, *ours]}


def _instant(milliseconds: int) -> str:
    """The time of a record, which its producer may have made up."""
    try:
        return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat()
    except OverflowError:
        return f"{milliseconds} ms"
