"""Turnstile from Python: ask for tickets, follow them, steer them.

async with TicketProducer() as producer:
    await producer.submit(Opening(id="tower-4711", subject=..., tasks=(...,)))

async with Client() as client:
    ticket = await client.wait("tower-4711")
"""

from .attempt import AttemptClient
from .client import Client
from .errors import (
    Conflict,
    Forbidden,
    Invalid,
    NoAnswer,
    NotFound,
    Problem,
    Refused,
    TooLarge,
    TooMany,
    TurnstileError,
    Unanswered,
    Unauthenticated,
    Unavailable,
)
from .producer import TicketProducer
from .rows import (
    Accepted,
    Attempt,
    Busy,
    Change,
    DeadLetter,
    Event,
    OpenedLetter,
    Rejected,
    Result,
    Steered,
    Task,
    Ticket,
    Token,
    Worker,
)
from .stream import Changes
from .words import Execution, Outcome, Scope, TaskState, TicketState, WorkerState
from .work import Registered, Registration, WorkerClient
from .workflow import Opening, Precedence, Run, Source, Subject, Takes, TaskSpec, Timeouts
from .working import (
    Artifact,
    Beat,
    CaseResult,
    Claimed,
    Claims,
    HeldAttempt,
    Input,
    LostAttempt,
    Reported,
    Returned,
    Started,
    attempt_of,
)

__all__ = [
    "Accepted",
    "Artifact",
    "Attempt",
    "AttemptClient",
    "Beat",
    "Busy",
    "CaseResult",
    "Change",
    "Changes",
    "Claimed",
    "Claims",
    "Client",
    "Conflict",
    "DeadLetter",
    "Event",
    "Execution",
    "Forbidden",
    "HeldAttempt",
    "Input",
    "Invalid",
    "LostAttempt",
    "NoAnswer",
    "NotFound",
    "OpenedLetter",
    "Opening",
    "Outcome",
    "Precedence",
    "Problem",
    "Refused",
    "Registered",
    "Registration",
    "Rejected",
    "Reported",
    "Result",
    "Returned",
    "Run",
    "Scope",
    "Source",
    "Started",
    "Steered",
    "Subject",
    "Takes",
    "Task",
    "TaskSpec",
    "TaskState",
    "Ticket",
    "TicketProducer",
    "TicketState",
    "Timeouts",
    "Token",
    "TooLarge",
    "TooMany",
    "TurnstileError",
    "Unanswered",
    "Unauthenticated",
    "Unavailable",
    "Worker",
    "WorkerClient",
    "WorkerState",
    "attempt_of",
]
