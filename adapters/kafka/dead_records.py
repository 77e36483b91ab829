"""Records of the dead topic, as they are read: letters, and what became of them.

A request's letter ends with headers of ours, whatever its sender has called its own; a command's
and a settlement begin with ours. So nobody who asks can write what is taken for something else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from adapters.dead import REASON, How, Letter, Settlement, letter_id
from adapters.foreign import CONTENT_TYPE, PREFIX, STRUCTURED, Headers
from adapters.kafka.request_records import EPOCH
from adapters.postgres.letter_index import Settling
from adapters.requests import command_id

OURS: Final = ("reason", "topic", "partition", "offset", "at")
"""What a request's letter ends with; `cut` may follow."""

SETTLES: Final = "settles"
CUT: Final = "cut"
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
NAMES: Final = 256
"""Characters of what was read of a letter that are listed."""


class _Read(Struct):
    """The attributes of a CloudEvent that are listed, whatever their types."""

    id: Any = None
    source: Any = None
    type: Any = None
    subject: Any = None
    actor: Any = None


_HOW: Final[Mapping[str, How]] = {"injected": "injected", "dropped": "dropped"}
_decode: Final = msgspec.json.Decoder(_Read).decode


class DeadRecord:
    """A letter's record, with our headers told from its own."""

    def __init__(self, record: Any) -> None:
        self.partition: int = record.partition
        self.offset: int = record.offset
        self.key: bytes | None = record.key
        self.value: bytes = record.value or b""
        self.at = _instant(record.timestamp)
        headers = tuple(record.headers)
        tail = len(headers) - (1 if headers and headers[-1][0] == CUT else 0)
        names = tuple(name for name, _ in headers)
        self.kind: Literal["command", "request"] = "command"
        self.own: Headers = ()
        if names[tail - len(OURS) : tail] == OURS:
            self.kind = "request"
            self.own = headers[: tail - len(OURS)]
            self.noted = _texts(headers[tail - len(OURS) :])
        else:
            # A command's own headers stand behind ours, and the first of a name counts.
            self.noted = _texts(headers[::-1])
        self.is_settling = self.kind == "command" and names[:1] == (SETTLES,)
        self.is_cut = names[tail:] == (CUT,) and (self.kind == "request" or tail == 4)

    def settling(self) -> Settling | None:
        """What became of which letter before it; None if that cannot be understood."""
        place, how = _number(self.noted[SETTLES]), _HOW.get(self.noted.get("how", ""))
        if place is None or place >= self.offset or how is None:
            return None
        by = _listed(self.noted.get("by")) or "nobody"
        settlement = Settlement(how, by, self.at, _listed(self.noted.get("why"), REASON))
        return Settling(place, self.offset, settlement)

    def letter(self) -> Letter:
        """What can be said of it."""
        noted, read = self.noted, self._read()
        source, id_ = read.get("source"), read.get("id")
        command = id_
        if self.kind == "request":
            command = str(command_id(source, id_)) if source and id_ else None
        partition, is_request = _number(noted.get("partition")), self.kind == "request"
        size = _number(noted.get(CUT)) if self.is_cut else None
        return Letter(
            id=letter_id(self.partition, self.offset),
            at=self.at,
            kind=self.kind,
            topic=noted.get("topic") if is_request else None,
            partition=self.partition if partition is None else partition,
            position=_number(noted.get("offset" if is_request else "position")),
            stream=_listed(read.get("subject")),
            type=_listed(read.get("type")),
            command=_listed(command),
            actor=_listed(read.get("actor")),
            reason=_listed(noted.get("reason"), REASON) or "it says no reason",
            size=len(self.value) if size is None else size,
        )

    def _read(self) -> Mapping[str, str]:
        """The attributes of the CloudEvent, wherever it has them."""
        headers = _texts(self.own)
        if f"{PREFIX}specversion" in headers and not _is_structured(headers):
            return {name.removeprefix(PREFIX): text for name, text in headers.items()}
        try:
            found = msgspec.structs.asdict(_decode(self.value))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return {}
        return {name: one for name, one in found.items() if isinstance(one, str)}


def unreadable(partition: int, offset: int, now: datetime, error: Exception) -> Letter:
    """The letter that a record is which aiokafka cannot read, as it is found now."""
    return Letter(
        id=letter_id(partition, offset),
        at=now,
        kind="command",
        topic=None,
        partition=partition,
        position=None,
        stream=None,
        type=None,
        command=None,
        actor=None,
        reason=_listed(f"the letter itself is unreadable, {error!r}", REASON) or "",
        size=0,
    )


def settles(place: int, how: How, by: str, why: str | None) -> list[tuple[str, bytes]]:
    """The headers of a record that says what became of a letter in the same partition."""
    said = [(SETTLES, str(place)), ("how", how), ("by", by), *([("why", why)] if why else [])]
    return [(name, text.encode(errors="backslashreplace")) for name, text in said]


def _is_structured(headers: Mapping[str, str]) -> bool:
    return headers.get(CONTENT_TYPE, "").lower().startswith(STRUCTURED)


def _texts(headers: Headers) -> dict[str, str]:
    return {name: (raw or b"").decode(errors="replace") for name, raw in headers}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def _listed(text: str | None, most: int = NAMES) -> str | None:
    """What a column of text can hold."""
    if text is None:
        return None
    return text[:most].encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _instant(milliseconds: int) -> datetime:
    """The time of a record, which a stranger may have made up."""
    try:
        return min(LATEST, EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return LATEST
