"""Reports: what runners say of attempts becomes commands that never expire.

The same report is the same command, however often and by whichever way it comes.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

import msgspec

from adapters.asking import Asker, NoAnswer
from adapters.work.words import Reported, Returned, Started
from domain.envelope import Answer, Submitted
from domain.errors import Refused
from domain.policy import KIND
from domain.ticket import commands as c
from domain.ticket.words import Told

WAIT: Final = 10.0
"""Seconds that an answer is waited for."""

REPORT: Final = UUID("5f6d3f0f-6c4e-5f0a-8d59-2f0a54f0d9b7")
"""The name space of the ids of these commands."""

Reporting = c.Start | c.Report | c.ReturnClaim

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def command_of(report: Started | Reported | Returned) -> Reporting:
    """What is asked of the ticket."""
    match report:
        case Started(task=task, token=token):
            return c.Start(task=task, token=token)
        case Returned(task=task, token=token, reason=reason):
            return c.ReturnClaim(task=task, token=token, reason=reason)
        case _:
            return reported(report.task, report.token, report)


def reported(task: str, token: int, told: Told) -> c.Report:
    """The command that says how the attempt has ended."""
    fields = {name: getattr(told, name) for name in Told.__struct_fields__}
    return c.Report(task=task, token=token, **fields)


class Reporter:
    """Sends them."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def send(self, ticket: str, command: Reporting, worker: str) -> Answer:
        """What the ticket answers. Raises NoAnswer, TooLarge, Invalid."""
        said = msgspec.json.encode((ticket, command.topic)) + _encode(command)
        submitted = Submitted(
            id=uuid5(REPORT, said.hex()),
            stream=f"{KIND}{ticket}",
            command=command,
            actor=f"worker/{worker}",
        )
        return await self._asker.ask(submitted, WAIT)

    async def send_many(
        self, reports: Sequence[Started | Reported | Returned], worker: str
    ) -> Sequence[Answer | Refused | NoAnswer]:
        """What has become of each, in their order. Those of one attempt are sent in theirs."""
        answers: dict[int, Answer | Refused | NoAnswer] = {}
        attempts: dict[tuple[str, int], list[int]] = {}
        for n, report in enumerate(reports):
            attempts.setdefault((report.ticket, report.token), []).append(n)

        async def send_some(numbers: Sequence[int]) -> None:
            for n in numbers:
                report = reports[n]
                try:
                    answers[n] = await self.send(report.ticket, command_of(report), worker)
                except (Refused, NoAnswer) as error:
                    answers[n] = error

        await asyncio.gather(*map(send_some, attempts.values()))
        return [answers[n] for n in range(len(reports))]
