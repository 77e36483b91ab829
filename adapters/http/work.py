"""Endpoints for runners: claims, heartbeats and reports; and for what runs, with its credential."""

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from adapters.access import Scope
from adapters.asking import Asker, NoAnswer
from adapters.http import problems
from adapters.http.attempts import no_attempt, token_of
from adapters.http.commands import WAIT, Accepted, accepted, command_id
from adapters.http.endpoint import Asked, Endpoint
from adapters.http.problems import Problem
from adapters.postgres.claims import Claims as ClaimQueries
from adapters.postgres.leases import RESTARTED, Leases
from adapters.work.claiming import ClaimDesk
from adapters.work.polls import Still
from adapters.work.reporting import Reporter, Reporting, reported
from adapters.work.words import (
    Beat,
    ClaimRequest,
    Claims,
    Heartbeat,
    HeldAttempt,
    LostAttempt,
    Reports,
    Returning,
)
from domain.envelope import Answer, Submitted
from domain.errors import Refused
from domain.policy import KIND, lost_lease
from domain.ticket import commands as c
from domain.ticket.words import Told


class Said(Struct, frozen=True, omit_defaults=True):
    """The answer to a report: what was accepted, or the problem."""

    ticket: str
    version: int | None = None
    partition: int | None = None
    sequence: int | None = None
    after: str | None = None
    problem: Problem | None = None


class Answers(Struct, frozen=True):
    """The answers to reports, in their order."""

    answers: tuple[Said, ...]


class Revoking(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the task is taken from its worker."""

    reason: str = ""


class Starting(Struct, frozen=True, forbid_unknown_fields=True):
    """The task's own code starts."""


class WorkDesk:
    """Answers runners, of whom each asks for a worker of its own name."""

    def __init__(self, asker: Asker, desk: ClaimDesk, claims: ClaimQueries, leases: Leases) -> None:
        self._asker = asker
        self._reporter = Reporter(asker)
        self._desk = desk
        self._claims = claims
        self._leases = leases

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What runners may ask, and what runs."""
        worker, attempt = "/v1/workers/{worker}", "/v1/tickets/{ticket}/attempts/{token}"
        posts = partial(Endpoint, "POST")
        return (
            posts(
                f"{worker}/claims",
                "Claim tasks, or wait until there is one; the same request gets the same",
                Claims,
                self.claim,
                body=ClaimRequest,
                scope=Scope.WORK,
                waits=True,
            ),
            posts(
                f"{worker}/heartbeat",
                "Keep the leases of attempts",
                Beat,
                self.heartbeat,
                body=Heartbeat,
                scope=Scope.WORK,
            ),
            posts(
                f"{worker}/reports",
                "Report what has become of attempts",
                Answers,
                self.reports,
                body=Reports,
                scope=Scope.WORK,
            ),
            *(
                posts(
                    f"{attempt}/{word}",
                    summary,
                    Accepted,
                    answer,
                    body=body,
                    scope=None,
                    for_attempts=True,
                    name=f"{word}_attempt",
                )
                for word, summary, body, answer in (
                    ("start", "The task's own code starts", Starting, self.start),
                    ("report", "The attempt is over, and this is how", Told, self.report),
                    ("return", "Hand the task back", Returning, self.return_),
                )
            ),
            posts(
                f"{attempt}/revoke",
                "Take the task from its worker",
                Accepted,
                self.revoke,
                body=Revoking,
                scope=Scope.OPERATE,
                name="revoke_attempt",
            ),
        )

    # ------------------------------------------------------------------------- for its worker

    async def claim(self, worker: str, body: ClaimRequest, asked: Asked, still: Still) -> Claims:
        """Tasks for the worker. Raises NotRegistered, SupersededSession, NoAnswer, Unavailable."""
        present = await self._desk.present(worker, body.session)
        tasks, state = await self._desk.claim(
            present, body.request, body.tasks, body.wait, body.only, still=still
        )
        return Claims(tasks, state)

    async def heartbeat(self, worker: str, body: Heartbeat, asked: Asked) -> Beat:
        """What the worker has, and has lost. Raises NotRegistered, SupersededSession."""
        present = await self._desk.present(worker, body.session)
        named = [(one.ticket, one.token) for one in body.attempts]
        beating = await self._leases.beat(worker, body.session, named)
        return Beat(
            present.state,
            tuple(LostAttempt(*one) for one in beating.lost),
            tuple(HeldAttempt(*one) for one in beating.held),
        )

    async def reports(self, worker: str, body: Reports, asked: Asked) -> Answers:
        """What tickets answer, in the order of the reports."""
        answers = await self._reporter.send_many(body.reports, worker)
        return Answers(
            tuple(
                _said(report.ticket, answer)
                for report, answer in zip(body.reports, answers, strict=True)
            )
        )

    # ------------------------------------------------------------------------- for one attempt

    async def start(self, ticket: str, token: str, body: Starting, asked: Asked) -> Accepted:
        """The task of the attempt runs."""
        return await self._tell(asked, lambda task, token: c.Start(task=task, token=token))

    async def report(self, ticket: str, token: str, body: Told, asked: Asked) -> Accepted:
        """The attempt is over."""
        return await self._tell(asked, lambda task, token: reported(task, token, body))

    async def return_(self, ticket: str, token: str, body: Returning, asked: Asked) -> Accepted:
        """The task waits for another worker."""
        return await self._tell(
            asked, lambda task, token: c.ReturnClaim(task=task, token=token, reason=body.reason)
        )

    async def _tell(self, asked: Asked, saying: Callable[[str, int], Reporting]) -> Accepted:
        attempt = asked.attempt
        assert attempt is not None  # the gate lets in nobody else
        command = saying(attempt.task, attempt.token)
        answer = await self._reporter.send(attempt.ticket, command, attempt.worker)
        return accepted(attempt.ticket, answer)

    async def revoke(self, ticket: str, token: str, body: Revoking, asked: Asked) -> Accepted:
        """The attempt ends. Raises Refusal if there is none."""
        number = token_of(ticket, token)
        found = await self._claims.attempt(ticket, number)
        if found is None:
            raise no_attempt(ticket, number)
        command = c.Revoke(task=found[0], token=number, reason=body.reason)
        answer = await self._asker.ask(
            Submitted(
                id=command_id(ticket, command, asked.actor, asked.key),
                stream=f"{KIND}{ticket}",
                command=command,
                actor=asked.actor,
                patience=WAIT,
            ),
            WAIT,
        )
        return accepted(ticket, answer)


def _said(ticket: str, answer: Answer | Refused | NoAnswer) -> Said:
    try:
        if isinstance(answer, Exception):
            raise answer
        done = accepted(ticket, answer)
    except Exception as error:
        return Said(ticket, problem=problems.of_any(error).problem)
    return Said(ticket, done.version, done.partition, done.sequence, done.after)


async def take_over(asker: Asker, leases: Leases, worker: str, session: str) -> None:
    """What earlier sessions of the worker had is lost, as its runner was started anew.

    The reaper ends what has not ended when this is answered.
    """
    await leases.heard(worker, session)
    lost = await leases.release_others(worker, session)
    asking = (
        asker.ask(lost_lease(ticket, task, token, RESTARTED), WAIT) for ticket, task, token in lost
    )
    await asyncio.gather(*asking, return_exceptions=True)
