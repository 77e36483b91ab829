"""Opening a ticket: what it begins with, and what is refused."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from domain.errors import DifferentBody, Invalid, NotReady, TooLarge, UnknownTicket
from domain.event import Command, CommandNoted
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import (
    TaskClaimed,
    TasksAdded,
    TasksHeld,
    TasksReady,
    TicketOpened,
)
from domain.ticket.opening import LIFETIME
from domain.ticket.words import Limit, Precedence
from domain.workflow import MAX_TASK_SIZE, Run, TaskSpec
from tests.unit.given import NOON, SUBJECT, claim, given, opening, ran, task

HOUR = timedelta(hours=1)


def test_a_ticket_is_opened_and_what_needs_nothing_is_ready() -> None:
    command = opening("A", task("B", "A"), "C", priority=7, labels={"distro": "rawhide"})
    opened, ready = given().when(command).events
    assert isinstance(opened, TicketOpened)
    assert (
        TicketOpened(
            subject=SUBJECT,
            body=opened.body,
            deadline=NOON + LIFETIME,
            tasks=command.tasks,
            labels={"distro": "rawhide"},
            priority=7,
        )
        == opened
    )
    assert TasksReady(tasks=("A", "C")) == ready


def test_an_open_ticket_is_queued_until_a_task_starts() -> None:
    assert TicketState.QUEUED is given(opening("A")).state
    assert TicketState.QUEUED is given(opening("A"), claim("A")).state


def test_the_key_under_which_it_supersedes_others_is_kept() -> None:
    key = Precedence(key="tower/pull/1", order=3)
    assert key == given(opening("A", supersedes=key)).ticket.supersedes


def test_a_held_task_waits_behind_its_gate() -> None:
    command = opening(task("A", held=True), "B")
    _, *rest = given().when(command).events
    assert [TasksHeld(tasks=("A",)), TasksReady(tasks=("B",))] == rest


def test_nothing_is_ready_before_the_workflow_is_complete() -> None:
    opened = given(opening("A", sealed=False))
    assert {"A": TaskState.BLOCKED} == opened.tasks
    opened.when(claim("A")).refused(NotReady, match="it is blocked")


def test_a_ticket_without_tasks_is_refused_unless_they_come_later() -> None:
    given().when(opening()).refused(Invalid, field="tasks")
    assert TicketState.QUEUED is given(opening(sealed=False)).state


def test_a_wrong_workflow_is_refused_with_the_path() -> None:
    given().when(opening(task("A", "X"))).refused(Invalid, field="tasks[0].needs[0]")


def test_the_same_body_again_is_success_and_any_other_is_a_conflict() -> None:
    opened = given(opening("A", labels={"a": "1", "b": "2"}))
    opened.when(opening("A", labels={"b": "2", "a": "1"})).then(CommandNoted(version=1))
    opened.when(opening("A", labels={"a": "1"})).refused(DifferentBody, field="id")
    opened.when(opening("A", "B")).refused(DifferentBody, field="id")


def test_the_same_body_is_known_also_after_the_ticket_has_ended() -> None:
    ended = given(opening("A"), *ran("A"))
    ended.when(opening("A")).then(CommandNoted(version=1))
    ended.when(opening("B")).refused(DifferentBody, field="id")


def test_the_same_body_is_known_also_after_its_deadline() -> None:
    command = opening("A", deadline=NOON + HOUR)
    given(command, 2 * HOUR).when(command).then_nothing()


def test_defaults_that_are_said_and_left_out_are_the_same_body() -> None:
    given(opening("A")).when(
        opening(task("A", requires={}, retries=2, required=True), priority=0, labels={})
    ).then_nothing()


def test_a_deadline_that_has_passed_is_refused() -> None:
    given().when(opening("A", deadline=NOON)).refused(Invalid, field="deadline", match="passed")


def test_a_deadline_before_the_beginning_is_refused() -> None:
    given().when(opening("A", not_before=NOON + HOUR, deadline=NOON + HOUR)).refused(
        Invalid, field="deadline", match="not after not_before"
    )


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("hours", [-14, 0, 14])
@pytest.mark.parametrize("field", ["not_before", "deadline"])
def test_the_ends_of_time_are_refused(year: int, hours: int, field: str) -> None:
    month, day = (1, 1) if year == 1 else (12, 31)
    far = datetime(year, month, day, tzinfo=timezone(timedelta(hours=hours)))
    given().when(opening("A", **{field: far})).refused(Invalid, field=field)


def test_a_lifetime_of_a_year_begins_at_not_before() -> None:
    year = timedelta(days=366)
    opened = given(opening("A", not_before=NOON + year, deadline=NOON + 2 * year))
    assert NOON + 2 * year == opened.ticket.deadline
    given().when(opening("A", deadline=NOON + year + HOUR)).refused(Invalid, field="deadline")


def test_instants_are_kept_in_utc() -> None:
    elsewhere = timezone(timedelta(hours=2))
    at = (NOON + HOUR).astimezone(elsewhere)
    ticket = given(opening("A", not_before=at, deadline=at + HOUR)).ticket
    assert (NOON + HOUR, UTC) == (ticket.not_before, ticket.not_before and ticket.not_before.tzinfo)
    assert (NOON + 2 * HOUR, UTC) == (ticket.deadline, ticket.deadline and ticket.deadline.tzinfo)


def test_without_a_deadline_it_ends_a_week_after_it_may_begin() -> None:
    assert NOON + LIFETIME == given(opening("A")).ticket.deadline
    assert NOON + HOUR + LIFETIME == given(opening("A", not_before=NOON + HOUR)).ticket.deadline
    assert NOON + LIFETIME == given(opening("A", not_before=NOON - HOUR)).ticket.deadline


def test_nothing_is_claimed_before_the_ticket_may_begin() -> None:
    early = given(opening("A", not_before=NOON + HOUR), HOUR - timedelta(seconds=1))
    early.when(claim("A")).refused(NotReady, match="not before 2026-03-01T13:00:00")
    early.now += timedelta(seconds=1)
    early.when(claim("A")).then(TaskClaimed(task="A", worker="w1", request="r1", lease=60.0))


COMMANDS: tuple[Command, ...] = (
    c.AddTasks(tasks=(task("A"),)),
    c.Seal(),
    c.Claim(task="A", worker="w", request="r"),
    c.Start(task="A", token=1),
    c.LoseLease(task="A", token=1),
    c.Report(task="A", token=1, outcome=None),
    c.ReturnClaim(task="A", token=1),
    c.Revoke(task="A", token=1),
    c.Cancel(),
    c.Rerun(),
    c.Hold(),
    c.Unhold(),
    c.ChangePriority(priority=0),
    c.Supersede(by="10"),
    c.NoteEnd(ticket="7", state=TicketState.PASSED),
    c.Expire(),
    c.TimeOut(task="A", limit=Limit.QUEUE),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.topic)
def test_every_other_command_needs_a_ticket(command: Command) -> None:
    given().when(command).refused(UnknownTicket, match="There is no ticket '9'")


def test_every_command_was_tried_without_a_ticket() -> None:
    assert {*c.COMMANDS} - {c.Open} == {type(command) for command in COMMANDS}


def test_every_command_has_a_name_and_a_schema_version_of_its_own() -> None:
    assert len(c.COMMANDS) == len({command.topic for command in c.COMMANDS})
    assert [1] * len(c.COMMANDS) == [command.schema for command in c.COMMANDS]


def big(name: str, size: int, *needs: str) -> TaskSpec:
    run = Run(kind="shell", parameters={"command": "x" * size})
    return TaskSpec(name=name, run=run, needs=needs)


def test_a_task_that_is_too_large_is_refused_by_its_place() -> None:
    given().when(opening("A", big("B", MAX_TASK_SIZE))).refused(TooLarge, field="tasks[1]")


def test_a_large_ticket_is_opened_in_parts() -> None:
    tasks = [big(f"t{n}", 50_000) for n in range(12)]
    events = given().when(opening(*tasks)).events
    assert [TicketOpened, TasksAdded, TasksAdded, TasksReady] == [type(event) for event in events]
    assert max(len(msgspec.json.encode(event)) for event in events) < 512 * 1024
    opened = given(opening(*tasks))
    assert {each.name: TaskState.READY for each in tasks} == opened.tasks
    opened.when(opening(*tasks)).then(CommandNoted(version=1))


def test_a_part_of_a_large_ticket_needs_nothing_of_a_later_one() -> None:
    tasks = [big(f"t{n}", 50_000, f"t{n + 1}") for n in range(11)] + [big("t11", 50_000)]
    opened = given(opening(*tasks))
    assert 12 == len(opened.ticket.tasks)
    assert TaskState.READY is opened.tasks["t11"]
    assert 3 == sum(isinstance(event, TicketOpened | TasksAdded) for event in opened.events)
