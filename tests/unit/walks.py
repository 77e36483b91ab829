"""Random walks: histories of a small ticket that commands can reach, likely and unlikely ones.

A walk is an opening and moves. A move is a word and three numbers, and is read in the light of
what the ticket has come to, so that most walks get somewhere: "work" does whatever comes next for
some task, the other moves ask for anything, also for what must be refused.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st
from msgspec import Struct

from domain.envelope import Submitted
from domain.errors import Refused
from domain.event import Command, Event
from domain.ticket import commands as c
from domain.ticket.automata import TICKET_ENDED, TaskState, TicketState
from domain.ticket.state import Ticket
from domain.ticket.words import Execution, Limit, Outcome, Scope
from domain.workflow import TaskSpec
from tests.unit.given import NOON, Given, opening, task

NAMES: Final = ("A", "B", "C", "D", "E", "F")
LATER: Final = ("G", "H", "I")
OTHERS: Final = ("10", "11", "12")
WORKERS: Final = ("w1", "w2", "w3")
WAITS: Final = tuple(timedelta(seconds=s) for s in (0, 1, 61, 601, 3_601, 86_401, 8 * 86_400))


class Move(Struct, frozen=True):
    """What to do, to which task, and how."""

    kind: str
    task: int
    how: int
    token: int


class Walk(Struct, frozen=True):
    """An opening and what comes after it."""

    opening: c.Open
    moves: list[Move]


Decided = tuple[tuple[Event, ...], Refused | None]
"""The events that a command causes or, refused, leaves."""


def play(walk: Walk) -> Iterator[tuple[Given, Submitted]]:
    """Each command of the walk and the ticket to which it comes. Who iterates must `take` it."""
    ticket = Given()
    yield ticket, ticket.submit(walk.opening)
    for move in walk.moves:
        ticket.now += _passes(move)
        if command := read(move, ticket.ticket, walk.opening):
            yield ticket, ticket.submit(command)


def decide(ticket: Given, submitted: Submitted) -> Decided:
    """What the command comes to."""
    try:
        return ticket.decide(submitted), None
    except Refused as refused:
        return refused.leaves, refused


def take(ticket: Given, submitted: Submitted) -> Decided:
    """What the command came to, which is a fact now."""
    events, refused = decide(ticket, submitted)
    ticket.record(events, submitted)
    return events, refused


def taken(walk: Walk) -> Given:
    """The ticket at the end of the walk."""
    ticket = Given()
    for ticket, submitted in play(walk):
        take(ticket, submitted)
    return ticket


# ------------------------------------------------------------------------------ reading a move

_REPORTS: Final = (
    (Execution.OK, Outcome.PASSED),
    (Execution.OK, Outcome.PASSED),
    (Execution.OK, Outcome.INFO),
    (Execution.OK, Outcome.FAILED),
    (Execution.OK, Outcome.NEEDS_INSPECTION),
    (Execution.OK, Outcome.SKIPPED),
    (Execution.INFRASTRUCTURE, None),
    (Execution.INFRASTRUCTURE, Outcome.PASSED),
    (Execution.CONFIGURATION, None),
    (Execution.TIMED_OUT, None),
    (Execution.OK, None),
)


def read(move: Move, ticket: Ticket, opened: c.Open) -> Command | None:
    """The command that the move means now; None if it means none."""
    return _READ[move.kind](move, ticket, opened)


def _passes(move: Move) -> timedelta:
    """The time that passes before the move."""
    match move.kind:
        case "wait":
            return WAITS[move.how % len(WAITS)]
        case "time_out" if move.how > 4:
            return WAITS[5]
        case "expire" if move.how > 4:
            return WAITS[6]
        case _:
            return WAITS[0]


def _work(move: Move, ticket: Ticket, opened: c.Open) -> Command | None:
    """What a worker does next for one of the tasks that can be worked on.

    Where there is none because other tickets are awaited, one of these ends.
    """
    if ticket.is_open and ticket.waits_for:
        other = ticket.waits_for[move.task % len(ticket.waits_for)]
        state = TICKET_ENDED[move.token % len(TICKET_ENDED)] if move.how > 7 else TicketState.PASSED
        return c.NoteEnd(ticket=other, state=state)
    names = [n for n, t in ticket.tasks.items() if t.at_work or t.state is TaskState.READY]
    if not names:
        return None
    name = names[move.task % len(names)]
    each = ticket.tasks[name]
    if each.state is TaskState.READY:
        return _claim(move, name)
    token = each.attempts[-1].token
    if each.state is TaskState.CLAIMED and move.how % 4:
        return c.Start(task=name, token=token)
    return _report(move, name, token)


def _claim(move: Move, name: str) -> Command:
    return c.Claim(task=name, worker=WORKERS[move.token % 3], request=f"r{move.how % 3}")


def _report(move: Move, name: str, token: int) -> Command:
    execution, outcome = _REPORTS[(move.how + move.token) % len(_REPORTS)]
    return c.Report(task=name, token=token, execution=execution, outcome=outcome)


def _name(move: Move, ticket: Ticket) -> str:
    """A task of the ticket, sometimes one that it does not have."""
    names = (*ticket.tasks, "Z") if move.how == 9 else tuple(ticket.tasks)
    return names[move.task % len(names)] if names else "Z"


def _names(move: Move, ticket: Ticket) -> tuple[str, ...]:
    """One, none, two, or one twice."""
    one = _name(move, ticket)
    other = list(ticket.tasks or "Z")[move.how % max(1, len(ticket.tasks))]
    return ((one,), (), (one, other), (one, one))[move.token % 4]


def _attempt(move: Move, ticket: Ticket) -> tuple[str, int]:
    """A task and the token of its last attempt, mostly of one under way; or of another, or none."""
    busy = [name for name, each in ticket.tasks.items() if each.at_work]
    name = busy[move.task % len(busy)] if busy and move.how < 6 else _name(move, ticket)
    attempts = ticket.tasks[name].attempts if name in ticket.tasks else []
    every = [a.token for each in ticket.tasks.values() for a in each.attempts]
    match move.token:
        case 5 if attempts:
            return name, attempts[0].token
        case 6 if every:
            return name, every[move.how % len(every)]
        case 7:
            return name, 1 + move.how * 3
        case _:
            return name, attempts[-1].token if attempts else 1


def _of_attempt(kind: Callable[..., Command]) -> "_Reader":
    def command(move: Move, ticket: Ticket, opened: c.Open) -> Command:
        name, token = _attempt(move, ticket)
        return kind(task=name, token=token)

    return command


def _any_report(move: Move, ticket: Ticket, opened: c.Open) -> Command:
    return _report(move, *_attempt(move, ticket))


def _add(move: Move, ticket: Ticket, opened: c.Open) -> Command:
    """One or two new tasks that need what is there, what is not, or one another."""
    first, second = LATER[move.task % 3], LATER[(move.task + 1) % 3]
    need, other = _name(move, ticket), [*ticket.tasks, *LATER][move.how % 3]
    tasks: tuple[TaskSpec, ...] = (
        task(first, *{need} - {first}, required=bool(move.how % 3), held=move.token == 4),
    )
    if move.token % 2:
        tasks = (task(second, first, *{other} - {first, second}), *tasks)
    if move.token != 2:
        return c.AddTasks(tasks=tasks)
    by, token = _attempt(move, ticket)
    return c.AddTasks(tasks=tasks, by_task=by, token=token)


def _time_out(move: Move, ticket: Ticket, opened: c.Open) -> Command:
    name, token = _attempt(move, ticket)
    if move.how % 3 == 0 or name not in ticket.tasks:
        limit = tuple(Limit)[move.token % 3]
    else:
        started = {TaskState.CLAIMED: Limit.START, TaskState.RUNNING: Limit.RUN}
        limit = started.get(ticket.tasks[name].state, Limit.QUEUE)
    return c.TimeOut(task=name, limit=limit, token=None if limit is Limit.QUEUE else token)


def _rerun(move: Move, ticket: Ticket, opened: c.Open) -> Command:
    scope = tuple(Scope)[move.how % 3]
    return c.Rerun(scope=scope, tasks=_names(move, ticket) if scope is Scope.TASKS else ())


_Reader = Callable[[Move, Ticket, c.Open], Command | None]


def _rarely(move: Move, ticket: Ticket, opened: c.Open) -> Command:
    match move.how:
        case 0:
            return c.Supersede(by="10")
        case 1 | 2:
            return c.Cancel()
        case 3 | 4:
            return opened
        case 5:
            return opening("A", "Z")
        case 9:
            states = tuple(TicketState)
            return c.NoteEnd(ticket=OTHERS[move.task % 3], state=states[move.token % len(states)])
        case how:
            return c.ChangePriority(priority=how % 2)


_MEANING: Final[dict[str, tuple[int, _Reader]]] = {  # the number says how often
    "work": (15, _work),
    "wait": (2, lambda m, t, o: None),
    "claim": (1, lambda m, t, o: _claim(m, _name(m, t))),
    "start": (1, _of_attempt(c.Start)),
    "report": (2, _any_report),
    "lose": (2, _of_attempt(c.LoseLease)),
    "return": (1, _of_attempt(c.ReturnClaim)),
    "revoke": (1, _of_attempt(c.Revoke)),
    "time_out": (3, _time_out),
    "add": (2, _add),
    "seal": (2, lambda m, t, o: c.Seal()),
    "hold": (1, lambda m, t, o: c.Hold(tasks=_names(m, t))),
    "unhold": (2, lambda m, t, o: c.Unhold(tasks=_names(m, t))),
    "cancel": (1, lambda m, t, o: c.Cancel(tasks=_names(m, t) or (_name(m, t),))),
    "rerun": (3, _rerun),
    "expire": (1, lambda m, t, o: c.Expire()),
    "rarely": (2, _rarely),
}
_READ: Final = {kind: reader for kind, (_, reader) in _MEANING.items()}
_KINDS: Final = [kind for kind, (often, _) in _MEANING.items() for _ in range(often)]

# -------------------------------------------------------------------------------- the strategy


Pick = Callable[[int, int], int]
"""A number between two, both included."""


def _workflow(pick: Pick) -> list[TaskSpec]:
    """One to six tasks, each of which may need some that stand before or behind it."""
    names = NAMES[: pick(1, 6)]
    tasks = [
        task(
            name,
            *dict.fromkeys(names[pick(0, n - 1)] for _ in range(pick(0, min(n, 3)))),
            required=pick(0, 3) > 0,
            held=pick(0, 5) == 5,
            retries=pick(0, 2),
        )
        for n, name in enumerate(names)
    ]
    return tasks if pick(0, 1) else tasks[::-1]


def _opening(pick: Pick) -> c.Open:
    not_before = NOON + timedelta(minutes=1) if pick(0, 3) == 3 else None
    return opening(
        *_workflow(pick),
        sealed=pick(0, 3) > 0,
        not_before=not_before,
        waits_for=OTHERS[: max(0, pick(0, 5) - 3)],
    )


def _move(what: int, how: int) -> Move:
    return Move(_KINDS[what // 6], what % 6, how // 8, how % 8)


# Up to 255 Hypothesis draws evenly, beyond that mostly small numbers.
_WHAT, _HOW = len(_KINDS) * 6 - 1, 10 * 8 - 1
_moves = st.builds(_move, st.integers(0, _WHAT), st.integers(0, _HOW))


@st.composite
def walks(draw: st.DrawFn, longest: int = 60) -> Walk:
    """An opening and at most so many moves."""
    opened = _opening(lambda low, high: draw(st.integers(low, high)))
    # Hypothesis likes lists of five; most states lie further away.
    least = draw(st.sampled_from([0, longest // 4, longest // 2]))
    return Walk(opened, draw(st.lists(_moves, min_size=least, max_size=longest)))


def walk_at_random(pick: Pick, length: int = 60) -> Walk:
    """One walk without Hypothesis, which is quicker where many are wanted and none is shrunk."""
    opened = _opening(pick)
    return Walk(opened, [_move(pick(0, _WHAT), pick(0, _HOW)) for _ in range(length)])
