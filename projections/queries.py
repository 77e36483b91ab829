"""What can be asked of the views: filters, pages and the cursors between them."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from domain.errors import Invalid
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.commands import Instant
from domain.ticket.words import Outcome
from domain.workflow import Id, Line

R = TypeVar("R")

MOST: Final = 1_000
"""Rows of one page."""

Limit = Annotated[int, Meta(ge=1, le=MOST)]


class Page(Struct, Generic[R], frozen=True):
    """Some rows, and the cursor behind the last of them if there are more."""

    rows: Sequence[R]
    next: str | None = None


class Paged(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most `limit` rows, behind the page that handed out the `cursor`."""

    limit: Limit = 100
    cursor: Annotated[str, Meta(max_length=1024)] | None = None


class TicketFilter(Paged, frozen=True, kw_only=True):
    """Which tickets: all conditions must hold, and one of those states. Newest first.

    `label` is `name=value`; `since` and `before` are about when a ticket was opened.
    """

    state: tuple[TicketState, ...] = ()
    project: Line | None = None
    kind: Id | None = None
    name: Line | None = None
    revision: Line | None = None
    label: tuple[Annotated[str, Meta(pattern=r"\A[^=\x00]+=[^\x00]*\Z")], ...] = ()
    since: Instant | None = None
    before: Instant | None = None


class TaskFilter(Paged, frozen=True, kw_only=True):
    """Which tasks of a ticket, in the order of its workflow."""

    state: tuple[TaskState, ...] = ()


class AttemptFilter(Paged, frozen=True, kw_only=True):
    """Which attempts of a ticket, in their order."""

    task: Id | None = None


class QueueFilter(Paged, frozen=True, kw_only=True):
    """Which waiting tasks, in the order of their ranks. `class_` is a class of requirements."""

    project: Line | None = None
    class_: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")] | None = msgspec.field(
        name="class", default=None
    )


class ResultFilter(Paged, frozen=True, kw_only=True):
    """Which results, newest first. Without a ticket, a test case must be named."""

    ticket: Id | None = None
    task: Id | None = None
    testcase: Line | None = None
    project: Line | None = None
    outcome: tuple[Outcome, ...] = ()
    since: Instant | None = None
    before: Instant | None = None


Place = tuple[Any, ...]
"""The values by which rows are ordered, of the last row of a page."""

Word = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
Small = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Large = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What the values may be: what a column can hold, whoever made the cursor."""

_encode: Final = msgspec.json.Encoder().encode


def cursor(place: Place) -> str:
    """A place as it is handed out; nobody else is to read it."""
    return base64.urlsafe_b64encode(_encode(place)).decode().rstrip("=")


def place(cursor: str, kind: Any) -> Any:
    """The place of a cursor, a tuple of this *kind*. Raises Invalid."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = msgspec.json.decode(text, type=kind)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid(field="cursor", reason=_NOT_OURS) from error
    if not all(is_on_calendar(value) for value in found if isinstance(value, datetime)):
        raise Invalid(field="cursor", reason=_NOT_OURS)
    return found


def is_on_calendar(instant: datetime) -> bool:
    """Whether the instant has a year from 1 to 9999 in UTC too, whatever its own offset."""
    try:
        instant.astimezone(UTC)
    except OverflowError:
        return False
    return True


_NOT_OURS: Final = "it is none that was handed out"
