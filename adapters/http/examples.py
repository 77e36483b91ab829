"""An example of every answer, by the name of what answers; tests hold them against the schemas."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from adapters import access
from adapters.dead import Content, Letter, Settlement, Shown
from adapters.http.artifacts import Stored
from adapters.http.automaton import AUTOMATA
from adapters.http.commands import Accepted, Line, Opening
from adapters.http.dead import Dropping
from adapters.http.live.change import message
from adapters.http.live.cursor import Cursors
from adapters.http.log_stream import LogPart
from adapters.http.logs import Appended, Misplaced
from adapters.http.problems import BASE, TITLES, Problem
from adapters.http.progress import (
    Behind,
    Health,
    NotReady,
    Partition,
    Partitions,
    Ready,
    Way,
)
from adapters.http.tickets import Happened, happened
from adapters.http.tokens import MadeToken, NewToken
from adapters.http.work import Answers, Revoking, Said, Starting
from adapters.http.workers import BEAT, Busy, Registered, Registration, Steered
from adapters.work.words import (
    AttemptRef,
    Beat,
    Claimed,
    ClaimRequest,
    Claims,
    Heartbeat,
    HeldAttempt,
    Input,
    LostAttempt,
    Reported,
    Reports,
    Returning,
    Started,
)
from domain.envelope import Recorded
from domain.ticket import commands as c
from domain.ticket.automata import TaskState, TicketState
from domain.ticket.events import TaskClaimed
from domain.ticket.words import Artifact, Outcome, Scope, Told
from domain.ticket.words import Result as WorkResult
from domain.worker import commands as w
from domain.worker.automata import WorkerState
from domain.worker.events import WorkerRegistered
from domain.workflow import Run, Subject, TaskSpec
from projections.history import rows
from projections.progress import State
from projections.queries import Page
from projections.rows import Attempt, Result, Task, Ticket
from projections.workers import Worker

NONE: Final = object()
"""There is no example."""

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
EVENT: Final = UUID("6ba7b810-9dad-5bd1-80b4-00c04fd430c8")

PACKAGE: Final = Artifact(
    name="dist/tower-1.0.rpm",
    digest="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    size=4,
)

TICKET: Final = Ticket(
    ticket="tower-4711",
    partition=3,
    kind="commit",
    project="tower",
    name="main",
    revision="9f31c05e",
    url="https://forge.example.org/tower/commit/9f31c05e",
    labels={"team": "blue"},
    supersedes="tower/main",
    supersedes_order=4711,
    not_before=None,
    opened_at=NOON,
    opened_by="forge",
    state=TicketState.RUNNING,
    priority=5,
    sealed=True,
    deadline=NOON + 86_400 * SECOND,
    started_at=NOON + 2 * SECOND,
    tasks=2,
    waiting=1,
    working=1,
    version=4,
    sequence=21,
    changed_at=NOON + 2 * SECOND,
)
TASK: Final = Task(
    ticket="tower-4711",
    task="build",
    n=0,
    project="tower",
    class_="44136fa355b3678a",
    required=True,
    spec=msgspec.to_builtins(TaskSpec(name="build", run=Run(kind="shell"))),
    state=TaskState.RUNNING,
    since=NOON + 2 * SECOND,
    created="ticket_opened",
    ready_at=NOON,
    attempts=1,
    token=3,
    worker="arm-7",
)
WAITING: Final = msgspec.structs.replace(
    TASK, state=TaskState.READY, since=NOON, rank=NOON.timestamp(), attempts=0, token=None
)
ATTEMPT: Final = Attempt(
    ticket="tower-4711",
    token=3,
    task="build",
    number=1,
    worker="arm-7",
    request="claim-81",
    lease=60.0,
    created="ticket_opened",
    claimed_at=NOON + SECOND,
    started_at=NOON + 2 * SECOND,
)
RESULT: Final = Result(
    ticket="tower-4711",
    token=3,
    n=0,
    task="build",
    project="tower",
    testcase="compiles",
    outcome="passed",
    summary="no warnings",
    duration=41.5,
    log="https://logs.example.org/81",
    at=NOON + 50 * SECOND,
)
CLAIMED: Final = Recorded(
    id=EVENT,
    originator_id="ticket/tower-4711",
    originator_version=3,
    event=TaskClaimed(task="build", worker="arm-7", request="claim-81", lease=60.0),
    time=NOON + SECOND,
    actor="worker:arm-7",
    causationid=uuid5(EVENT, "command"),
    sequence=20,
    upto=17,
)
WORKER: Final = Worker(
    worker="arm-7",
    partition=5,
    state=WorkerState.AVAILABLE,
    session="5f0c1e",
    home="rack-2-9b1d",
    capabilities={"arch": ("arm64",)},
    slots=4,
    registered_at=NOON - SECOND,
    since=NOON - SECOND,
    version=1,
    sequence=12,
)
REGISTERED: Final = Recorded(
    id=uuid5(EVENT, "worker"),
    originator_id="worker/arm-7",
    originator_version=1,
    event=WorkerRegistered(
        session="5f0c1e", home="rack-2-9b1d", capabilities={"arch": ("arm64",)}, slots=4
    ),
    time=NOON - SECOND,
    actor="runners",
    causationid=uuid5(EVENT, "register"),
    sequence=12,
    upto=9,
)
STEERED: Final = Steered("arm-7", 2, 5, 30, "5:30")

OPENING: Final = Opening(
    id="tower-4711",
    subject=Subject("commit", project="tower", name="main", revision="9f31c05e"),
    tasks=(
        TaskSpec(name="build", run=Run("shell", {"command": ["make"]})),
        TaskSpec(name="unit", run=Run("shell"), needs=("build",)),
    ),
)
ACCEPTED: Final = Accepted("tower-4711", 1, 3, 17, "3:17")
LATER: Final = Accepted("tower-4711", 5, 3, 24, "3:24")
LETTER: Final = Letter(
    id="3-17",
    at=NOON,
    kind="command",
    topic=None,
    partition=3,
    position=17,
    stream="ticket/tower-4711",
    type="turnstile.ticket.open",
    command=str(uuid5(EVENT, "letter")),
    actor="forge",
    reason="tasks: expected `array`, got `int`",
    size=512,
)
INJECTED: Final = Settlement("injected", "alice", NOON + SECOND)
DROPPED: Final = Settlement("dropped", "alice", NOON + SECOND, "an old client, which is gone")
TOKEN: Final = access.Token(
    id="2f9c1f0a41d7",
    name="forge",
    scopes=(access.Scope.SUBMIT,),
    created_at=NOON,
    created_by="alice",
)


def _happened(event: Recorded) -> Happened:
    [row] = rows([event])
    return happened(event, row)


def _streamed() -> str:
    [row] = rows([CLAIMED])
    cursor = str(Cursors([EVENT]).at([20]))
    return message(0, CLAIMED, row, "tower", cursor).data.decode()


_ENGINE: Final = Way(
    of="engine",
    state=State.MOVING,
    done=17,
    end=19,
    owner="rack-2",
    lease=5.2,
    vacant=None,
    since=None,
    advice="",
)
_VIEW: Final = msgspec.structs.replace(
    _ENGINE, of="tickets", state=State.AT_END, done=21, end=21, owner="rack-1"
)
_BEHIND: Final = Behind(
    partition=3,
    of="engine",
    owner=None,
    since=NOON,
    advice="nobody has it: is a `turnstile engine` running? Start one, or see its log",
)

_METRICS: Final = """\
# HELP turnstile_requests_total Requests answered
# TYPE turnstile_requests_total counter
turnstile_requests_total{method="GET",route="/v1/tickets",status="200"} 42.0
"""


def problem(status: int) -> Any:
    """A problem of this status."""
    kinds = {
        400: ("http", "Invalid HTTP request.", None),
        401: ("unauthenticated", "This needs a token: `Authorization: Bearer …`.", "Authorization"),
        403: ("forbidden", "This needs the scope 'operate'; …", "Authorization"),
        404: ("unknown-ticket", "There is no ticket 'tower-4712'.", "ticket"),
        408: ("too-slow", "The request has not come within 60 s.", None),
        409: ("ended", "The ticket has ended as passed: .", None),
        416: (
            "no-such-part",
            "There are 15 bytes, none of 'bytes=20-'.",
            "Range",
        ),
        413: ("too-large", "body: 2097152 bytes are more than the 1048576 …", "body"),
        422: ("invalid", "limit: expected `int` <= 1000.", "limit"),
        429: ("too-many", "This server has 1000 streams open, and no more.", None),
        431: ("head-too-large", "The headers are too large.", None),
        500: ("mistake", "The log says more.", None),
        503: ("unavailable", "What answers this is away; try again.", None),
        504: ("view-behind", "The views have not come to 3:4711 within 10 s.", "after"),
    }
    if status not in kinds:
        return NONE
    kind, detail, field = kinds[status]
    return _plain(Problem(f"{BASE}{kind}", TITLES[status], status, detail, field))


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


_WORK: Final = Claimed(
    ticket="tower-4711",
    task="unit",
    token=7,
    attempt=1,
    lease=60.0,
    credential="turnstile_attempt_…",
    subject=OPENING.subject,
    spec=TaskSpec(name="unit", run=Run("shell", {"command": ["make", "check"]}), needs=("build",)),
    inputs=(Input("build", "dist/tower.whl", f"sha256:{'0f' * 32}", 4711),),
    secrets={"SIGNING_KEY": "…"},
)
_STALE: Final = Problem(
    f"{BASE}stale-token",
    TITLES[409],
    409,
    "Token 3 is not that of the present attempt of task 'build'.",
)
_TOLD: Final = Told(
    outcome=Outcome.FAILED,
    results=(WorkResult("unit/clocks", Outcome.FAILED, "2 of 41 failed", 12.5),),
    artifacts=(Artifact("report.xml", f"sha256:{'c3' * 32}", 2048),),
)

_NOT_READY: Final = NotReady(
    type=f"{BASE}not-ready",
    title=TITLES[503],
    status=503,
    detail=f"Partition 3 of engine is behind: {_BEHIND.advice}.",
    behind=(_BEHIND,),
)

_SAID: Final = "$ make test\nok\n"

_MISPLACED: Final = Misplaced(
    type=f"{BASE}log-gap",
    title=TITLES[409],
    status=409,
    detail="The log ends at 2049, and something is missing before 4096.",
    field="start",
    end=2049,
)

_ANSWERS: Final[Mapping[str, Any]] = {
    "tickets": Page([TICKET], "WyIyMDI2LTAzLTAxVDEyOjAwOjAwWiIsInRvd2VyLTQ3MTEiXQ"),
    "ticket": TICKET,
    "tasks": Page([TASK]),
    "attempts": Page([ATTEMPT]),
    "events": Page([_happened(CLAIMED)], "3"),
    "queue": Page([WAITING]),
    "results": Page([RESULT]),
    "stream": _streamed(),
    "automaton": AUTOMATA,
    "health": Health(alive=True),
    "ready": Ready(ready=True),
    "partitions": Partitions((Partition(3, 19, 17, 21, _ENGINE, (_VIEW,)),)),
    "metrics": _METRICS,
    "docs": "<!doctype html>…",
    "append_log": Appended(2049, 64 * 1024 * 1024),
    **dict.fromkeys(("log", "task_log"), _SAID),
    "log_stream": (
        "retry: 1000\n\nid: 15\n"
        f"data: {msgspec.json.encode(LogPart(0, _SAID.encode())).decode()}\n\n"
    ),
    "put_artifact": Stored(PACKAGE.digest, PACKAGE.size),
    **dict.fromkeys(("artifact", "artifact_of_attempt"), "…"),
    "artifacts": Page([PACKAGE]),
    "open": ACCEPTED,
    "claim": Claims((_WORK,), WorkerState.AVAILABLE),
    "heartbeat": Beat(
        WorkerState.AVAILABLE,
        (LostAttempt("tower-4711", 3, "tasks_cancelled: the branch is gone"),),
        (HeldAttempt("tower-4711", 7, "unit"),),
    ),
    "reports": Answers((Said("tower-4711", 8, 3, 30, "3:30"), Said("tower-4711", problem=_STALE))),
    **dict.fromkeys(("start_attempt", "report_attempt", "return_attempt", "revoke_attempt"), LATER),
    **dict.fromkeys(("cancel", "rerun", "hold", "unhold", "priority", "add_tasks", "seal"), LATER),
    "workers": Page([WORKER]),
    "worker": Busy(WORKER, [ATTEMPT]),
    "worker_events": Page([_happened(REGISTERED)]),
    "register": Registered("arm-7", 1, WorkerState.AVAILABLE, BEAT),
    **dict.fromkeys(("leave", "drain", "resume"), STEERED),
    "dead_letters": Page([LETTER]),
    "dead_letter": Shown(LETTER, Content(text='{"specversion":"1.0"}')),
    "inject_dead_letter": msgspec.structs.replace(LETTER, settled=INJECTED),
    "drop_dead_letter": msgspec.structs.replace(LETTER, settled=DROPPED),
    "tokens": Page([TOKEN]),
    "make_token": MadeToken(**msgspec.structs.asdict(TOKEN), token="turnstile_…"),
    "revoke": msgspec.structs.replace(TOKEN, revoked_at=NOON, revoked_by="alice"),
}

_BODIES: Final[Mapping[str, Any]] = {
    "claim": ClaimRequest(session="5f1c", request="81", tasks=2, wait=20.0),
    "heartbeat": Heartbeat(
        session="5f1c", attempts=(AttemptRef("tower-4711", 7), AttemptRef("tower-4711", 3))
    ),
    "reports": Reports(
        session="5f1c",
        reports=(
            Started(ticket="tower-4711", task="unit", token=7),
            Reported(ticket="tower-4711", task="build", token=3, outcome=Outcome.PASSED),
        ),
    ),
    "start_attempt": Starting(),
    "report_attempt": _TOLD,
    "return_attempt": Returning("its disk is full"),
    "revoke_attempt": Revoking("the machine is needed"),
    "open": OPENING,
    "cancel": c.Cancel(reason="the branch is gone"),
    "rerun": c.Rerun(scope=Scope.FAILED),
    "hold": c.Hold(tasks=("publish",), reason="the mirror is away"),
    "unhold": c.Unhold(),
    "priority": c.ChangePriority(priority=5),
    "add_tasks": c.AddTasks(tasks=(TaskSpec(name="lint", run=Run("shell")),)),
    "seal": c.Seal(),
    "register": Registration(
        session="5f0c1e", home="rack-2-9b1d", capabilities={"arch": ("arm64",)}, slots=4
    ),
    "leave": w.Leave(session="5f0c1e"),
    "drain": w.Drain(reason="new disks"),
    "resume": w.Resume(),
    "drop_dead_letter": Dropping(reason="an old client, which is gone"),
    "make_token": NewToken("forge", (access.Scope.SUBMIT,), 90),
}

LINES: Final[Mapping[str, Mapping[str, str]]] = {
    "open": {
        "body": msgspec.json.encode(OPENING).decode() + "\n",
        "answer": msgspec.json.encode(Line(1, "tower-4711", 1, 3, 17, "3:17")).decode() + "\n",
    }
}
"""Of those that take many lines, by operation."""

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    name: {
        "answer": _plain(answer),
        **({"503": _plain(_NOT_READY)} if name == "ready" else {}),
        **({"409": _plain(_MISPLACED)} if name == "append_log" else {}),
        **({"body": _plain(_BODIES[name])} if name in _BODIES else {}),
    }
    for name, answer in _ANSWERS.items()
}
"""By operation, then `answer`, `body`, or the status of a problem that says more."""
