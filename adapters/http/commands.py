"""Endpoints that change tickets: each sends a command and waits for what became of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID, uuid4, uuid5

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from adapters.access import Scope
from adapters.asking import Asker
from adapters.http import problems
from adapters.http.endpoint import Asked, Endpoint, read_body
from adapters.http.problems import Problem
from domain.envelope import Answer, Submitted
from domain.errors import TooLarge
from domain.event import Command
from domain.ticket import commands as c

WAIT: Final = 10.0
"""Seconds that an answer is waited for."""

LINE: Final = 1024 * 1024
"""Bytes of a line, at most."""

LINES: Final = 200_000
"""Lines of one request, at most, the empty ones too."""

AT_ONCE: Final = 1_000
"""Lines whose answers are waited for at once."""

REQUEST: Final = UUID("0f6dba0f-3bb2-5c53-8f0b-8d6f4f9a8a53")
"""The name space of the ids of commands that come over HTTP."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


TicketId = Annotated[str, Meta(pattern=r"\A(?!\.{1,2}\Z)[A-Za-z0-9._:-]{1,128}\Z")]
"""An id that a path can have: `.` and `..` would be taken for directions."""


class Opening(c.Open, frozen=True, kw_only=True):
    """Test this subject with this workflow, as the ticket of this id."""

    id: TicketId

    def command(self) -> c.Open:
        """What is asked of the ticket."""
        return c.Open(**{name: getattr(self, name) for name in c.Open.__struct_fields__})


class Accepted(Struct, frozen=True):
    """It is done, or was done before: `version` is that of the first event that it caused.

    A query with `?after=` this sees its effect.
    """

    ticket: str
    version: int
    partition: int
    sequence: int
    after: str


class Line(Struct, frozen=True, omit_defaults=True):
    """The answer to one of many lines: what was accepted, or the problem."""

    line: int
    ticket: str | None = None
    version: int | None = None
    partition: int | None = None
    sequence: int | None = None
    after: str | None = None
    problem: Problem | None = None


_STEERING: Final = (
    ("cancel", c.Cancel, "End these tasks; without any named, the whole ticket"),
    ("rerun", c.Rerun, "Run again the whole ticket, what failed, or the tasks named"),
    ("hold", c.Hold, "Close a gate before these tasks, or before all that wait"),
    ("unhold", c.Unhold, "Open the gate before these tasks, or before all that are held"),
    ("priority", c.ChangePriority, "Move the ticket in the queue"),
)
_GROWING: Final = (
    ("tasks", c.AddTasks, "Let the ticket grow"),
    ("seal", c.Seal, "The workflow is complete"),
)


class TicketCommands:
    """Asks engines, and says what they answer."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be done to tickets."""
        tickets, one = "/v1/tickets", "/v1/tickets/{ticket}"
        return (
            Endpoint(
                "POST",
                tickets,
                "Open a ticket; the same body again is the same ticket",
                Accepted,
                self.open,
                body=Opening,
                scope=Scope.SUBMIT,
                status=201,
                lines=self.open_many,
            ),
            *(
                Endpoint(
                    "POST",
                    f"{one}/{name}",
                    summary,
                    Accepted,
                    partial(self._steer, patience=patience),
                    body=kind,
                    scope=scope,
                    for_attempts=kind is c.AddTasks,
                    name=name if name != "tasks" else "add_tasks",
                )
                for several, scope, patience in (
                    (_STEERING, Scope.OPERATE, WAIT),
                    (_GROWING, Scope.SUBMIT, None),
                )
                for name, kind, summary in several
            ),
        )

    async def open(self, body: Opening, asked: Asked) -> Accepted:
        """Open a ticket. Raises Refusal, NoAnswer."""
        return await self._ask(body.id, body.command(), asked, asked.key or body.id)

    def open_many(self, body: bytes, asked: Asked) -> AsyncIterator[bytes]:
        """Open a ticket for each line that is not empty, and answer each with a line.

        Raises Refusal if there are too many.
        """
        if max(body.count(b"\n"), body.count(b"\r")) > LINES:
            many = f"The body has more than {LINES} lines: send them in parts."
            raise problems.Refusal(413, TooLarge.type, many, "body")
        return self._open_many(body.splitlines(), asked)

    async def _open_many(self, lines: Sequence[bytes], asked: Asked) -> AsyncIterator[bytes]:
        numbered = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
        for at in range(0, len(numbered), AT_ONCE):
            some = numbered[at : at + AT_ONCE]
            answers = await asyncio.gather(*(self._line(n, line, asked) for n, line in some))
            yield b"".join(_encode(answer) + b"\n" for answer in answers)

    async def _line(self, n: int, line: bytes, asked: Asked) -> Line:
        ticket: str | None = None
        try:
            if len(line) > LINE:
                raise TooLarge(field="line", size=len(line), limit=LINE)
            body: Opening = read_body(line, Opening)
            ticket = body.id
            done = await self._ask(ticket, body.command(), asked, ticket)
        except Exception as error:
            return Line(n, ticket, problem=problems.of_any(error).problem)
        return Line(n, ticket, done.version, done.partition, done.sequence, done.after)

    async def _steer(
        self, ticket: str, body: Command, asked: Asked, patience: float | None
    ) -> Accepted:
        """Send it; what an attempt adds, it adds as itself. Raises Refusal, NoAnswer, Invalid."""
        if asked.attempt is not None and isinstance(body, c.AddTasks):
            attempt = asked.attempt
            _check_secrets(body)
            body = replace(body, by_task=attempt.task, token=attempt.token)
        return await self._ask(ticket, body, asked, asked.key, patience)

    async def _ask(
        self,
        ticket: str,
        command: Command,
        asked: Asked,
        key: str | None,
        patience: float | None = None,
    ) -> Accepted:
        """Send the command and wait for its answer. Raises Refusal, NoAnswer, Invalid."""
        submitted = Submitted(
            id=command_id(ticket, command, asked.actor, key),
            stream=f"ticket/{ticket}",
            command=command,
            actor=asked.actor,
            patience=patience,
        )
        try:
            answer = await self._asker.ask(submitted, WAIT)
        except TooLarge as error:
            raise problems.Refusal(413, error.type, f"{error} {_IN_PARTS}", "body") from error
        return accepted(ticket, answer)


def _check_secrets(adding: c.AddTasks) -> None:
    """Raises Refusal if a task names secrets: who runs would have what its task was not given."""
    for n, task in enumerate(adding.tasks):
        if task.run.parameters.get("secrets"):
            detail = f"Task {task.name!r} names secrets, and was added by a task."
            field = f"tasks[{n}].run.parameters.secrets"
            raise problems.Refusal(403, "forbidden", detail, field)


_IN_PARTS: Final = (
    "Open a ticket of many tasks with `sealed` false, add them in several requests, and seal it."
)


def command_id(name: str, command: Command, actor: str, key: str | None) -> UUID:
    """The same request under the same key, by the same actor, is the same command.

    Another body under it is another command: nobody is told that something was done which was not.
    """
    if key is None:
        return uuid4()
    said = msgspec.json.encode((name, actor, key, command.topic)) + _said(command)
    return uuid5(REQUEST, said.hex())


def _said(command: Any) -> bytes:
    try:
        return _encode(command)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return b""  # whoever sends it says what is wrong with it


def accepted(ticket: str, answer: Answer) -> Accepted:
    """What is told of a command that was accepted. Raises Refusal."""
    if answer.refusal is not None:
        raise problems.of_answer(answer.refusal)
    return Accepted(
        ticket,
        answer.version,
        answer.partition,
        answer.sequence,
        f"{answer.partition}:{answer.sequence}",
    )
