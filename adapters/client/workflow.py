"""What is asked for: a ticket, with the workflow that comes with it.

The same names, limits and defaults as the server's; `encode` refuses what it would refuse for
its form, before anything is sent.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from .errors import Invalid, Problem

Id = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,128}\Z")]
"""1-128 of `A-Z a-z 0-9 . _ : -`: ids of tickets, tasks, workers."""

Line = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
"""One line of text, without control characters: names, revisions, urls."""

Text = Annotated[str, Meta(max_length=8192, pattern=r"\A[^\x00]*\Z")]
"""Text for people: reasons, labels."""

Count = Annotated[int, Meta(ge=0, le=100)]
Rank = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=366 * 86_400)]
Instant = Annotated[datetime, Meta(tz=True)]
Requirements = dict[Line, tuple[Line, ...]]
"""`{dimension: values}`. A worker may run a task if its capabilities are a superset."""


class Value(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that is what it says: two of the same content are the same."""


class Subject(Value, frozen=True):
    """What is tested: `kind` is pull_request, commit, package, build or another such word."""

    kind: Id
    project: Line
    name: Line
    revision: Line
    url: Line | None = None


class Source(Value, frozen=True):
    """Where a task's files come from: kind `git`, `directory` or `archive`, and a revision."""

    kind: Id
    url: Line
    revision: Line | None = None
    parameters: dict[Line, Any] = {}


class Run(Value, frozen=True):
    """What a worker does: the kind of runner's work and its parameters."""

    kind: Id
    parameters: dict[Line, Any] = {}


class Takes(Value, frozen=True):
    """The artifacts that a task takes from one that it needs, as glob patterns."""

    task: Id
    artifacts: tuple[Line, ...] = ("*",)


class Timeouts(Value, frozen=True):
    """How long each stage may last, in seconds. `heartbeat` is the length of the lease."""

    queue: Seconds = 86_400.0
    start: Seconds = 600.0
    run: Seconds = 3_600.0
    heartbeat: Seconds = 60.0


class TaskSpec(Value, frozen=True):
    """One unit of scheduling inside a ticket.

    `retries` is how often the task is tried again after the *infrastructure* failed. A task with
    `required=False` never fails its ticket. A `held` task waits until somebody opens the gate.
    """

    name: Id
    run: Run
    needs: tuple[Id, ...] = ()
    takes: tuple[Takes, ...] = ()
    requires: Requirements = {}
    sources: tuple[Source, ...] = ()
    retries: Count = 2
    timeouts: Timeouts = Timeouts()
    required: bool = True
    held: bool = False


class Precedence(Value, frozen=True):
    """A ticket takes the place of older ones of the same key.

    `order` is what the forge says is newer (its sequence, or the time of the event there).
    """

    key: Line
    order: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Body(Value, frozen=True, kw_only=True):
    """What a ticket is to do, and when. Without a `deadline` it ends after a week at the latest.

    It begins only when those that it `waits_for` have passed. With `sealed=False` it may grow by
    `add_tasks`, and ends only behind `seal`.
    """

    subject: Subject
    tasks: tuple[TaskSpec, ...] = ()
    labels: Annotated[dict[Line, Text], Meta(max_length=64)] = {}
    priority: Rank = 0
    not_before: Instant | None = None
    deadline: Instant | None = None
    supersedes: Precedence | None = None
    sealed: bool = True
    waits_for: Annotated[tuple[Id, ...], Meta(max_length=100)] = ()


class Opening(Body, frozen=True, kw_only=True):
    """A ticket to open. Its `id` is yours to choose: the same ticket twice is one ticket."""

    id: Id


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Opening)


def encode(opening: Opening) -> bytes:
    """The ticket as it is sent. Raises Invalid, which names the field at fault."""
    encoded = encode_value(opening)
    try:
        _decoder.decode(encoded)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason, _, path = str(error).partition(" - at `$")
        raise invalid(path.rstrip("`").lstrip(".") or "body", reason) from error
    return encoded


def encode_body(opening: Opening) -> bytes:
    """The ticket without its id, as a request topic wants it; *opening* has been encoded before."""
    return encode_value(Body(**{name: getattr(opening, name) for name in Body.__struct_fields__}))


def encode_value(value: Any) -> bytes:
    """A part of a ticket, or what is asked of one, as it is sent. Raises Invalid."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("body", str(error)) from error


def invalid(field: str, reason: str) -> Invalid:
    """What the server would say of it."""
    detail = f"{field}: {reason[:1].lower()}{reason[1:]}."
    return Invalid(
        Problem("urn:turnstile:problem:invalid", "The request is wrong", 422, detail, field)
    )
