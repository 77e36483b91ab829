"""Records of request topics, as they came in and as dead letters."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from adapters.kafka.kept import kept
from domain.envelope import Submitted

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


def dead(request: Request) -> dict[str, Any]:
    """The record as it came, and behind its own headers why and where it was put aside.

    Ours are the last of their names, whatever the sender has called its own.
    """
    record, whole = request.raw, kept(request.raw)
    ours = [
        ("reason", request.reason[:REASON].encode(errors="backslashreplace")),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("at", _instant(record.timestamp).encode()),
    ]
    headers = [*whole.headers, *ours, *whole.cut]
    return {"key": whole.key, "value": whole.value, "headers": headers}


def _instant(milliseconds: int) -> str:
    """The time of a record, which its producer may have made up."""
    try:
        return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat()
    except OverflowError:
        return f"{milliseconds} ms"
