"""The history of a ticket or a worker: one row an event, with a sentence for people.

The fold needs the events and nothing else, and gets along with a part of them. So the history of
a ticket can be read when its state cannot (its stream is in quarantine, its beginning is missing).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.envelope import Recorded
from domain.event import CommandNoted, Event
from domain.ticket import events as e
from domain.ticket.state import WORD
from domain.ticket.words import Artifact, Result, Told
from domain.worker import events as w
from domain.workflow import TaskSpec
from projections.rows import Attempt

NAMED = 6
"""Tasks that a sentence names; if there are more, all of them are in the details."""


OPENING = (WORD[e.TicketOpened], WORD[e.TasksAdded])
"""Why a task waits for its first attempt."""


class Row(Struct, frozen=True):
    """One event, told. Nothing in it moves a cursor or colours a terminal.

    `since` is the time since the event before, `details` are lines that belong below the
    sentence, `command` is the id of the command that caused the event.
    """

    version: int
    time: datetime
    since: timedelta | None
    actor: str
    what: str
    details: tuple[str, ...]
    id: UUID
    command: UUID
    sequence: int
    traceparent: str | None


def rows(events: Iterable[Recorded]) -> Iterator[Row]:
    """The rows of the events of one stream, in their order."""
    history = History()
    return (history.tell(recorded) for recorded in events)


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as text: time of day in UTC, time since the row before, version, actor, what."""
    version = max((len(str(row.version)) for row in rows), default=0)
    actor = max((len(row.actor) for row in rows), default=0)
    date = ""
    for row in rows:
        if date != (date := day(row.time)):
            yield f"{date} (UTC)"
        since = "" if row.since is None else f"+{duration(row.since)}"
        place = f"{clock(row.time)}  {since:>11}  {row.version:>{version}}  {row.actor:<{actor}}"
        yield f"{place}  {row.what}"
        yield from (f"{'':{len(place)}}    {detail}" for detail in row.details)


def day(time: datetime) -> str:
    """The date of an instant, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def clock(time: datetime) -> str:
    """The time of day of an instant, in UTC, to the millisecond."""
    return time.astimezone(UTC).time().isoformat("milliseconds")


def duration(passed: timedelta) -> str:
    """A time for people, in its two largest units."""
    seconds = passed.total_seconds()
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


class _Attempt(Struct):
    number: int
    worker: str
    created: str | None = None


class History:
    """The fold. It knows the attempts, so that an event which shows a token tells whose it is.

    It may begin in the middle: behind an event of the time *last*, with rows of the *attempts*
    that the next events are about (`tokens` and `cancelled` say which those are).
    """

    def __init__(self, last: datetime | None = None, attempts: Iterable[Attempt] = ()) -> None:
        self._last = last
        self._attempts: dict[int, _Attempt] = {}
        self._claims: Counter[str] = Counter()
        self._under_way: dict[str, int] = {}
        self._before: dict[str, str] = {}
        for attempt in sorted(attempts, key=lambda row: row.token, reverse=True):
            self._know(attempt)

    def _know(self, row: Attempt) -> None:
        self._before.pop(row.task, None)
        self.remember(row.task, row.token, row.number, row.worker, row.created)
        self._claims[row.task] = row.number - 1
        if self._last is not None and (row.ended_at is None or row.ended_at >= self._last):
            self._under_way[row.task] = row.token

    def remember(self, task: str, token: int, number: int, worker: str, created: str) -> None:
        """An attempt of which the events that are told may not tell all.

        `created` is the word of the event since which its task had waited.
        """
        self._attempts[token] = _Attempt(number, worker, created)
        self._claims[task] = number
        if created not in OPENING:
            self._before[task] = created

    def tell(self, recorded: Recorded) -> Row:
        """The row of the next event. Raises TypeError for an event that nobody can have."""
        event = recorded.event
        if isinstance(event, e.TaskClaimed):
            self._claimed(event, recorded.originator_version)
        what, *more = self._sentence(event, recorded.originator_version).split("\n")
        details = (*more, *self._details(event, recorded.originator_version))
        self._ended(event)
        since = None if self._last is None else recorded.time - self._last
        self._last = recorded.time
        return Row(
            version=recorded.originator_version,
            time=recorded.time,
            since=since,
            actor=_printable(recorded.actor),
            what=_printable(what),
            details=tuple(_printable(line) for detail in details for line in detail.split("\n")),
            id=recorded.id,
            command=recorded.causationid,
            sequence=recorded.sequence,
            traceparent=recorded.traceparent,
        )

    def _claimed(self, event: e.TaskClaimed, token: int) -> None:
        known = self._attempts.get(token)
        self._claims[event.task] = known.number if known else self._claims[event.task] + 1
        created = known.created if known else None
        self._attempts[token] = _Attempt(self._claims[event.task], event.worker, created)
        self._under_way[event.task] = token

    def _ended(self, event: Event) -> None:
        """Remember which attempts are over and why, for the next ones of their tasks."""
        match event:
            case e.TaskClaimed() | e.TaskStarted() | e.ReportRefused():
                return
            case e.TasksCancelled(tasks=tasks) | e.TasksReset(tasks=tasks):
                over: Sequence[str] = tasks
            case _:
                over = (event.task,) if hasattr(event, "task") else ()
        for task in over:
            self._under_way.pop(task, None)
            self._before[task] = WORD[type(event)]

    def _sentence(self, event: Event, version: int) -> str:
        match event:
            case e.TicketOpened(subject=s):
                return (
                    f"opened for {s.kind} {s.name} of {s.project} at {s.revision}, with "
                    f"{_count(event.tasks)}{'' if event.sealed else ' so far'}"
                )
            case e.TasksAdded():
                by = f" by task {event.by_task}" if event.by_task else ""
                return f"{_count(event.tasks)} added{by}"
            case e.TicketSealed():
                return "sealed: the workflow is complete"
            case e.PriorityChanged():
                return f"priority is now {event.priority}{_because(event.reason)}"
            case e.AwaitedPassed(ticket=ticket):
                return f"ticket {ticket} passed, for which it waited"
            case e.TasksReady():
                return f"ready: {_names(event.tasks)}"
            case e.TasksHeld():
                return f"held: {_names(event.tasks)}{_because(event.reason)}"
            case e.TasksUnheld():
                return f"held no more: {_names(event.tasks)}{_because(event.reason)}"
            case e.TaskClaimed(task=task):
                before = self._attempts[version].created or self._before.get(task)
                before = None if before in OPENING else before
                return (
                    f"{self._attempt(task, version)} claimed for {_seconds(event.lease)}, request "
                    f"{event.request}{f', after {before}' if before else ''}"
                )
            case e.TaskStarted():
                return f"{self._attempt(event.task, event.token)} started"
            case e.LeaseLost():
                return f"{self._attempt(event.task, event.token)} lost{_because(event.reason)}"
            case e.ClaimReturned():
                attempt = self._attempt(event.task, event.token)
                return f"{attempt} handed back by its worker{_because(event.reason)}"
            case e.ClaimRevoked():
                attempt = self._attempt(event.task, event.token)
                return f"{attempt} taken from its worker{_because(event.reason)}"
            case e.TaskRetried():
                return self._told("to be tried again", event, event.task, event.token)
            case e.TaskPassed():
                return self._told("passed", event, event.task, event.token)
            case e.TaskFailed():
                return self._told("failed", event, event.task, event.token)
            case e.TaskTimedOut():
                return self._told("timed out", event, event.task, event.token)
            case e.TaskSkipped():
                return self._told("skipped", event, event.task, event.token)
            case e.TaskErrored():
                return self._told("errored", event, event.task, event.token)
            case e.TasksSkipped():
                return f"skipped, since {event.because} did not pass: {_names(event.tasks)}"
            case e.TasksCancelled():
                return f"cancelled: {_names(event.tasks)}{_because(event.reason)}"
            case e.TasksReset():
                return f"to run anew: {_names(event.tasks)}{_because(event.reason)}"
            case e.ReportRefused():
                attempt = self._attempt(event.task, event.token)
                return f"{attempt} reported too late and was refused: it was over"
            case e.TicketPassed():
                return "the ticket passed"
            case e.TicketFailed():
                return "the ticket failed: a required task failed or ran too long"
            case e.TicketErrored():
                return "the ticket errored: a required task could not be executed"
            case e.TicketCancelled():
                return f"the ticket was cancelled{_because(event.reason)}"
            case e.TicketSuperseded():
                return f"the ticket was superseded by {event.by}"
            case e.TicketExpired():
                return f"the ticket expired{_because(event.reason)}"
            case w.WorkerRegistered():
                return f"registered by session {event.session}"
            case w.WorkerDraining():
                return f"draining{_because(event.reason)}"
            case w.WorkerResumed():
                return f"available again{_because(event.reason)}"
            case w.WorkerGone():
                return f"gone, with session {event.session}{_because(event.reason)}"
            case CommandNoted(version=done):
                was = f": version {done} had done what it asked for" if done else ""
                return f"a command was accepted and changed nothing{was}"
            case _:
                raise TypeError(f"there is no sentence for {type(event).__name__}")

    def _attempt(self, task: str, token: int) -> str:
        attempt = self._attempts.get(token)
        if attempt is None:
            return f"{task}: attempt with token {token}"
        return f"{task}: attempt {attempt.number} ({attempt.worker}, token {token})"

    def _told(self, end: str, told: Told, task: str, token: int | None) -> str:
        attempt = f"{task}:" if token is None else self._attempt(task, token)
        outcome = f", outcome {told.outcome}" if told.outcome else ""
        return f"{attempt} {end} (execution {told.execution}{outcome}){_because(told.reason)}"

    def _details(self, event: Event, version: int) -> Iterator[str]:
        match event:
            case e.TicketOpened():
                yield from _opening(event)
            case e.TasksAdded():
                yield from map(_task, event.tasks)
                yield f"body {event.body.hex()}"
            case Told():
                yield from map(_result, event.results)
                yield from map(_artifact, event.artifacts)
                if event.log:
                    yield f"log {event.log}"
            case w.WorkerRegistered():
                slots = "1 slot" if event.slots == 1 else f"{event.slots} slots"
                yield f"{slots}, home {event.home}"
                yield from (
                    f"has {what} {', '.join(values)}" for what, values in event.capabilities.items()
                )
            case e.TasksReset(deadline=datetime() as deadline):
                yield f"deadline {_instant(deadline)}"
            case e.TasksCancelled():
                for task in event.tasks:
                    token = self._under_way.get(task, version)
                    if token < version:  # what is known of may be claimed only later
                        yield f"ends {self._attempt(task, token)}"
            case _:
                pass
        names: tuple[str, ...] = getattr(event, "tasks", ())
        if len(names) > NAMED and isinstance(names[0], str):
            yield ", ".join(names)


def tokens(events: Iterable[Recorded]) -> set[int]:
    """Of which attempts these events tell."""
    shown = {getattr(one.event, "token", None) for one in events}
    claims = {one.originator_version for one in events if isinstance(one.event, e.TaskClaimed)}
    return claims | {token for token in shown if token}


def cancelled(events: Iterable[Recorded]) -> set[datetime]:
    """When attempts were ended by what names their tasks only.

    Who knows no more of them than that takes two such ends of one task and instant for each other.
    """
    return {one.time for one in events if isinstance(one.event, e.TasksCancelled)}


def _opening(event: e.TicketOpened) -> Iterator[str]:
    if event.subject.url:
        yield event.subject.url
    yield from (f"label {label}: {text}" for label, text in event.labels.items())
    if event.supersedes:
        yield f"supersedes older ones of {event.supersedes.key}, order {event.supersedes.order}"
    if event.waits_for:
        yield f"waits for {', '.join(event.waits_for)} to pass"
    before = f"not before {_instant(event.not_before)}, " if event.not_before else ""
    yield f"priority {event.priority}, {before}deadline {_instant(event.deadline)}"
    yield from map(_task, event.tasks)
    yield f"body {event.body.hex()}"


def _task(spec: TaskSpec) -> str:
    """Everything that a task says of itself, in one line."""
    parts = [f"task {spec.name}: runs {spec.run.kind}{_json(spec.run.parameters)}"]
    if spec.needs:
        parts.append(f"needs {', '.join(spec.needs)}")
    parts += (f"takes {', '.join(takes.artifacts)} from {takes.task}" for takes in spec.takes)
    parts += (f"requires {what} {', '.join(values)}" for what, values in spec.requires.items())
    for source in spec.sources:
        at = f" at {source.revision}" if source.revision else ""
        parts.append(f"source {source.kind} {source.url}{at}{_json(source.parameters)}")
    limits = spec.timeouts
    parts += (
        "1 retry" if spec.retries == 1 else f"{spec.retries} retries",
        f"queue {_seconds(limits.queue)}, start {_seconds(limits.start)}, "
        f"run {_seconds(limits.run)}, heartbeat {_seconds(limits.heartbeat)}",
        *(() if spec.required else ("optional",)),
        *(("held",) if spec.held else ()),
    )
    return "; ".join(parts)


def _result(result: Result) -> str:
    took = "" if result.duration is None else f" in {_seconds(result.duration)}"
    log = f" (log {result.log})" if result.log else ""
    return f"test {result.testcase}: {result.outcome}{took}{_because(result.summary)}{log}"


def _artifact(artifact: Artifact) -> str:
    url = f", {artifact.url}" if artifact.url else ""
    return f"artifact {artifact.name}: {artifact.size} bytes, {artifact.digest}{url}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _count(tasks: Sequence[object]) -> str:
    return "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"


def _names(tasks: Sequence[str]) -> str:
    if len(tasks) <= NAMED:
        return ", ".join(tasks)
    return f"{', '.join(tasks[: NAMED - 1])} and {len(tasks) - NAMED + 1} more"


def _instant(time: datetime) -> str:
    return f"{day(time)} {clock(time)} UTC"


def _seconds(seconds: float) -> str:
    return f"{seconds:.15g} s"


def _json(parameters: Mapping[str, Any]) -> str:
    return f" {msgspec.json.encode(parameters).decode()}" if parameters else ""


def _printable(text: str) -> str:
    """The text, with whatever a terminal would obey or hide as its escape."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
