"""Reports that are sent until each has its answer."""

from collections.abc import Iterator, Sequence
from typing import Final

from .connection import LATER, Connection, Waits, path
from .errors import NoAnswer
from .rows import Accepted, Rejected
from .workflow import encode_value
from .working import Answers, Report, Reports, Said

MOST: Final = 100
"""Reports of one request."""

BYTES: Final = 768 * 1024
"""Bytes of the reports of one request, about; one may be larger by itself."""

Answer = Accepted | Rejected


async def send(
    connection: Connection, worker: str, session: str, reports: Sequence[Report]
) -> list[Answer]:
    """What became of each, in their order. Those without an answer are sent again.

    Raises Refused for all of them, Unavailable, NoAnswer.
    """
    found: dict[int, Answer] = {}
    waits = Waits(connection.patience)
    while open_ := [n for n in range(len(reports)) if n not in found]:
        reason = ""
        for part in _parts(reports, open_):
            body = Reports(session=session, reports=tuple(reports[n] for n in part))
            said = await connection.ask(
                "POST", path("workers", worker, "reports"), Answers, body=encode_value(body)
            )
            for n, answer in zip(part, said.answers, strict=True):
                if answer.problem is None or answer.problem.status not in LATER:
                    found[n] = _answer(answer)
                    waits.begin_anew()
                else:
                    reason = answer.problem.detail
        if reason and not await waits.wait():
            raise NoAnswer(f"{connection.url}: a report has no answer: {reason}")
    return [found[n] for n in range(len(reports))]


def _parts(reports: Sequence[Report], numbers: Sequence[int]) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for n in numbers:
        own = len(encode_value(reports[n]))
        if part and (len(part) >= MOST or size + own > BYTES):
            yield part
            part, size = [], 0
        part.append(n)
        size += own
    if part:
        yield part


def _answer(said: Said) -> Answer:
    if said.problem is not None:
        return Rejected(said.ticket, said.problem)
    return Accepted(
        said.ticket, said.version or 0, said.partition or 0, said.sequence or 0, said.after or ""
    )
