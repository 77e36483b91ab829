"""What must be true of the log after the story, whatever was killed in it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from msgspec import Struct

from domain.envelope import Answer, Recorded, event_id, partition_of
from domain.stream import Stream, VersionGap
from domain.ticket import TICKETS
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import ReportRefused, TaskClaimed
from domain.ticket.state import Ticket

Log = Mapping[int, Sequence[Recorded]]
"""The events of each partition."""

Answers = Mapping[UUID, Sequence[Answer]]
"""What was answered to each command, as often as it was asked."""

_ENDED = {
    "build": (TaskState.PASSED, 2),
    "unit": (TaskState.PASSED, 2),
    "lint": (TaskState.PASSED, 1),
    "docs": (TaskState.FAILED, 1),
}
"""How each task ends, and after how many attempts."""


class Check(Struct, frozen=True):
    """A sentence, and whether it is true."""

    sentence: str
    holds: bool


def checks(log: Log, stream: str, answers: Answers, claim: UUID, late: int) -> Iterator[Check]:
    """All of them.

    *claim* is the command that was sent while the engine was killed, *late* the token of the
    report that came too late.
    """
    facts = log[partition_of(stream, len(log))]
    ticket = _folded(stream, facts)
    tasks = {name: (task.state, len(task.attempts)) for name, task in ticket.tasks.items()}
    yield Check(
        "the ticket passed: build and unit in two attempts, lint in one; docs was optional",
        ticket.state is TicketState.PASSED and tasks == _ENDED,
    )
    yield Check(
        f"its versions 1 to {len(facts)} have no gap, nor have the sequences of any partition",
        all(fact.originator_id == stream for events in log.values() for fact in events)
        and _counts_up([fact.originator_version for fact in facts])
        and all(_counts_up([fact.sequence for fact in events]) for events in log.values()),
    )
    accepted = [id_ for id_, given in answers.items() if given[0].refusal is None]
    yield Check(
        f"{len(accepted)} commands were accepted; each was decided once and has one answer",
        _decided(stream, facts) == {id_: {a.version for a in answers[id_]} for id_ in accepted},
    )
    claimed = [fact for fact in facts if fact.causationid == claim]
    yield Check(
        "the claim that met the killed engine caused one event, of which every answer tells",
        [type(fact.event) for fact in claimed] == [TaskClaimed]
        and {answer.version for answer in answers[claim]} == {claimed[0].originator_version},
    )
    yield Check(
        "the late report left one note in the history, and nothing else",
        [fact.event for fact in facts if not fact.event.accepts]
        == [ReportRefused(task="unit", token=late)],
    )


def _folded(stream: str, facts: Sequence[Recorded]) -> Ticket:
    """The ticket, from its events alone; as far as they can follow one another."""
    ticket = Ticket()
    folding = Stream(stream, ticket)
    with suppress(VersionGap, KeyError):
        for fact in facts:
            folding.fold(TICKETS, fact)
    return ticket


def _counts_up(numbers: Sequence[int]) -> bool:
    return list(numbers) == list(range(1, len(numbers) + 1))


def _decided(stream: str, facts: Sequence[Recorded]) -> dict[UUID, set[int]]:
    """The version of the first event of each accepted command, if it was decided once.

    Event ids follow from the command's id and the event's place among its events: whatever was
    decided twice has an id twice, or events that do not follow one another.
    """
    caused: dict[UUID, list[Recorded]] = defaultdict(list)
    for fact in facts:
        if fact.event.accepts:
            caused[fact.causationid].append(fact)
    return {
        cause: {events[0].originator_version}
        for cause, events in caused.items()
        if all(
            event.id == event_id(stream, cause, n)
            and event.originator_version == events[0].originator_version + n - 1
            for n, event in enumerate(events, start=1)
        )
    }
