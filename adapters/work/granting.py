"""Granting: what is reserved for a worker becomes a claim, and what the worker is told of it.

The ticket is the arbiter: each is asked whether the worker may have its task. The ids of these
commands follow from the request, so a request that is made again gets the same.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

import structlog
from msgspec import Struct

from adapters.asking import Asker, NoAnswer
from adapters.credentials import AttemptOf, Credentials
from adapters.log import LogError
from adapters.postgres.claims import Claims, Detail, Key, Reservation
from adapters.postgres.leases import Lease
from adapters.secrets import SecretRefused, SecretsUnreadable
from adapters.work.reporting import Reporter
from adapters.work.words import Claimed, Input
from domain.envelope import Answer, Submitted
from domain.policy import KIND
from domain.ticket import commands as c
from domain.ticket.words import Artifact, Execution
from domain.workflow import TaskSpec
from projections.workers import Worker

PATIENCE: Final = 5.0
"""Seconds for which a ticket's answer to a claim is worth waiting: less than reservations last."""

CLAIM: Final = UUID("c7b6a8c2-26ad-5b4c-93a5-70f5d1f3c0aa")
"""The name space of the ids of claims."""

log = structlog.get_logger()


class Leased(Protocol):
    """The leases."""

    async def grant(self, leases: Sequence[Lease]) -> None:
        """These are the worker's now. Raises Unavailable."""
        ...

    async def of_request(self, worker: str, request: str) -> Sequence[Lease]:
        """What the worker got by a request. Raises Unavailable."""
        ...


class Secrets(Protocol):
    """The secrets."""

    async def of(self, project: str, names: Iterable[str]) -> Mapping[str, str]:
        """Their values, by name. Raises SecretRefused, SecretsUnreadable."""
        ...


class Request(Struct, frozen=True):
    """A request of a worker for tasks."""

    worker: Worker
    id: str


class Granting:
    """Asks tickets for claims, and says what came of it."""

    def __init__(
        self,
        asker: Asker,
        claims: Claims,
        leases: Leased,
        credentials: Credentials,
        secrets: Secrets,
    ) -> None:
        self._asker = asker
        self._reporter = Reporter(asker)
        self._claims = claims
        self._leases = leases
        self._credentials = credentials
        self._secrets = secrets

    async def again(self, request: Request) -> tuple[Claimed, ...]:
        """What the same request has got before, or was just about to get.

        Raises NoAnswer, Unavailable.
        """
        worker = request.worker.worker
        leases, reserved = await asyncio.gather(
            self._leases.of_request(worker, request.id), self._claims.reserved(worker, request.id)
        )
        tokens = {(lease.ticket, lease.task): lease.token for lease in leases}
        open_ = [one for one in reserved if (one.ticket, one.task) not in tokens]
        if not tokens and not open_:
            return ()
        if open_:
            tokens |= await self.claim(request, open_)
        return await self.tell(request, tokens, await self._claims.details(list(tokens)))

    async def grant(self, request: Request, reserved: Sequence[Reservation]) -> tuple[Claimed, ...]:
        """What the worker has got of what was reserved for it, if anything.

        Raises NoAnswer, Unavailable.
        """
        tokens, details = await asyncio.gather(
            self.claim(request, reserved),
            self._claims.details([(one.ticket, one.task) for one in reserved]),
        )
        return await self.tell(request, tokens, details)

    async def claim(self, request: Request, reserved: Sequence[Reservation]) -> dict[Key, int]:
        """The tokens of what the tickets let the worker have.

        Raises NoAnswer if not even one of them has answered.
        """
        answers = await asyncio.gather(
            *(self._ask(request, one) for one in reserved), return_exceptions=True
        )
        tokens: dict[Key, int] = {}
        lost: Exception | None = None
        for one, answer in zip(reserved, answers, strict=True):
            match answer:
                case Answer(refusal=None):
                    tokens[one.ticket, one.task] = answer.version
                case Answer(refusal=refusal):
                    log.debug("claim_refused", ticket=one.ticket, task=one.task, why=refusal)
                case NoAnswer() | LogError():
                    lost = answer
                case _:
                    raise answer
        if lost is not None and not tokens:
            raise lost
        return tokens

    async def _ask(self, request: Request, one: Reservation) -> Answer:
        worker = request.worker
        submitted = Submitted(
            id=uuid5(CLAIM, f"{worker.worker} {request.id} {one.ticket} {one.task}"),
            stream=f"{KIND}{one.ticket}",
            command=c.Claim(
                task=one.task,
                worker=worker.worker,
                request=request.id,
                capabilities=worker.capabilities,
            ),
            actor=f"worker/{worker.worker}",
            patience=PATIENCE,
        )
        return await self._asker.ask(submitted, PATIENCE)

    async def tell(
        self, request: Request, tokens: Mapping[Key, int], details: Mapping[Key, Detail]
    ) -> tuple[Claimed, ...]:
        """What the worker is told, when the leases are written down. Raises Unavailable."""
        worker, known = request.worker, {key: details[key] for key in tokens if key in details}
        leases = [
            Lease(
                ticket=ticket,
                token=tokens[ticket, task],
                task=task,
                worker=worker.worker,
                session=worker.session,
                request=request.id,
                length=detail.spec.timeouts.heartbeat,
            )
            for (ticket, task), detail in known.items()
        ]
        if not leases:
            return ()
        _, left = await asyncio.gather(self._leases.grant(leases), self._left(known))
        told = [
            await self._told(request, key, tokens[key], detail, left)
            for key, detail in known.items()
        ]
        return tuple(one for one in told if one is not None)

    async def _left(self, details: Mapping[Key, Detail]) -> Mapping[Key, Sequence[Artifact]]:
        wanted = {
            (ticket, takes.task)
            for (ticket, _), detail in details.items()
            for takes in detail.spec.takes
        }
        return await self._claims.left(sorted(wanted))

    async def _told(
        self,
        request: Request,
        key: Key,
        token: int,
        detail: Detail,
        left: Mapping[Key, Sequence[Artifact]],
    ) -> Claimed | None:
        (ticket, task), spec, worker = key, detail.spec, request.worker.worker
        try:
            secrets = await self._secret(detail.subject.project, spec)
        except SecretRefused as refused:
            await self._end(ticket, task, token, worker, Execution.CONFIGURATION, refused)
            return None
        except SecretsUnreadable as error:
            log.error("secrets_unreadable", ticket=ticket, task=task, error=str(error))
            await self._end(ticket, task, token, worker, Execution.INFRASTRUCTURE, error)
            return None
        return Claimed(
            ticket=ticket,
            task=task,
            token=token,
            attempt=await self._number(ticket, token, detail),
            lease=spec.timeouts.heartbeat,
            credential=self._credentials.make(AttemptOf(ticket, token, task, worker)),
            subject=detail.subject,
            spec=spec,
            inputs=tuple(inputs(ticket, spec, left)),
            secrets=secrets,
        )

    async def _number(self, ticket: str, token: int, detail: Detail) -> int:
        """The view may be before the claim or behind it; or far behind where it is told again."""
        if detail.token is None or detail.token < token:
            return detail.attempts + 1
        if detail.token == token:
            return detail.attempts
        found = await self._claims.attempt(ticket, token)
        return found[1] if found is not None else detail.attempts

    async def _secret(self, project: str, spec: TaskSpec) -> dict[str, str]:
        """The variables of the task that are secret. Raises SecretRefused."""
        wanted: Any = spec.run.parameters.get("secrets")
        if not isinstance(wanted, dict) or not wanted:
            return {}
        names = {variable: str(name) for variable, name in wanted.items()}
        values = await self._secrets.of(project, set(names.values()))
        return {variable: values[name] for variable, name in names.items()}

    async def _end(
        self,
        ticket: str,
        task: str,
        token: int,
        worker: str,
        execution: Execution,
        why: Exception,
    ) -> None:
        """The attempt cannot run, and that is no runner's affair."""
        report = c.Report(task=task, token=token, execution=execution, reason=str(why))
        await self._reporter.send(ticket, report, worker)


def inputs(ticket: str, spec: TaskSpec, left: Mapping[Key, Sequence[Artifact]]) -> Sequence[Input]:
    """The artifacts that the task takes, each once."""
    found: dict[tuple[str, str], Input] = {}
    for takes in spec.takes:
        for one in left.get((ticket, takes.task), ()):
            if any(fnmatchcase(one.name, pattern) for pattern in takes.artifacts):
                found[takes.task, one.name] = Input(takes.task, one.name, one.digest, one.size)
    return list(found.values())
