"""What is told of attempts, on its way to the service: kept on disk until that has it.

Starts are told along with reports, but not kept: a report implies the start.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from adapters.client import Accepted, Execution, Rejected, Reported, Returned, Started, errors
from workers.runner.fitting import shortened
from workers.runner.home import read_all, write

log = structlog.get_logger()

TOGETHER: Final = 100
"""Reports that are told with one request, at most."""

AGAIN: Final = 2.0
"""Seconds after which it is tried again to tell what nobody has taken."""

Telling = Started | Reported | Returned
Tell = Callable[[Sequence[Telling]], Awaitable[Sequence[Accepted | Rejected]]]


class Kept(Struct, frozen=True):
    """A report as it is on disk, with the credential of its attempt."""

    report: Reported
    credential: str


class Reports:
    """The reports in a folder, a file each, named by the attempt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, kept: Kept) -> None:
        """Have it on disk. Raises OSError."""
        write(self._file(kept.report), msgspec.json.encode(kept))

    def forget(self, report: Reported) -> None:
        """The service has it, or does not want it."""
        self._file(report).unlink(missing_ok=True)

    def left(self) -> Sequence[Kept]:
        """Those that an earlier runner has left."""
        return [kept for _, kept in read_all(self._folder, Kept)]

    def _file(self, report: Reported) -> Path:
        return self._folder / f"report~{report.ticket}~{report.token}.json"


class Delivery:
    """Tells in bulk, in order, and again and again until there is an answer."""

    def __init__(self, reports: Reports, tell: Tell) -> None:
        self._reports = reports
        self._tell = tell
        self._waiting: deque[Telling] = deque()
        self.untold: set[tuple[str, int]] = set()
        """The attempts, by ticket and token, whose reports nobody has taken yet."""
        self._more = asyncio.Event()
        self._closing = False

    def tell(self, telling: Started | Returned) -> None:
        """Tell this; if we are killed first, the service finds out by itself."""
        self._waiting.append(telling)
        self._more.set()

    async def report(self, report: Reported, credential: str) -> None:
        """Tell this, whatever happens to us, and whether or not anybody waits for it here."""
        keeping = asyncio.create_task(self._keep(Kept(report, credential)))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait({keeping})  # it has ended: whose it was the service knows
            raise

    async def _keep(self, kept: Kept) -> None:
        report = kept.report
        try:
            await asyncio.to_thread(self._reports.keep, kept)
        except OSError as error:  # a full disk: as long as we live, it is told
            log.error("report_not_kept", ticket=report.ticket, reason=str(error))
        self.untold.add((report.ticket, report.token))
        self._waiting.append(report)
        self._more.set()

    def close(self) -> None:
        """Nothing more comes: `run` returns when all is told."""
        self._closing = True
        self._more.set()

    async def run(self) -> None:
        """Tell what comes, until closed. Raises Refused if the runner itself is refused."""
        while self._waiting or not self._closing:
            self._more.clear()
            if not self._waiting:
                await self._more.wait()
                continue
            some = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
            self._waiting.extendleft(reversed(await self._told(some)))

    async def _told(self, some: Sequence[Telling]) -> Sequence[Telling]:
        """Tell these, and say which must be told again."""
        try:
            answers = await self._tell(some)
        except (errors.Unanswered, errors.Refused) as error:
            if isinstance(error, errors.Refused):
                if len(some) > 1 and not isinstance(error, _OF_THE_RUNNER):
                    return await self._told_one_by_one(some)
                if isinstance(error, errors.Invalid):
                    return self._refused(some[0], error.problem)
                if not is_away(error):
                    raise
            log.warning("reports_wait", reports=len(some), reason=str(error))
            await asyncio.sleep(AGAIN)
            return some
        again: list[Telling] = []
        for telling, answer in zip(some, answers, strict=True):
            if isinstance(answer, Rejected) and _is_for_later(answer):
                again.append(telling)
                continue
            if isinstance(answer, Rejected):
                again += self._refused(telling, answer.problem)
                continue
            self._forget(telling)
        if again:
            await asyncio.sleep(AGAIN)
        return again

    async def _told_one_by_one(self, some: Sequence[Telling]) -> Sequence[Telling]:
        """One of them is wrong, and the others are not to suffer for it."""
        return [again for one in some for again in await self._told([one])]

    def _refused(self, telling: Telling, problem: errors.Problem) -> Sequence[Telling]:
        """What is to be told in its place, if anything."""
        log.warning(
            "report_refused",
            ticket=telling.ticket,
            task=telling.task,
            token=telling.token,
            kind=problem.kind,
            reason=problem.detail,
        )
        if instead := instead_of(telling, problem):
            return [instead]  # until it is told the other one is kept
        self._forget(telling)
        return ()

    def _forget(self, telling: Telling) -> None:
        if isinstance(telling, Reported):
            self.untold.discard((telling.ticket, telling.token))
            self._reports.forget(telling)


_OF_THE_RUNNER: Final = (errors.Unauthenticated, errors.Forbidden, errors.Conflict, errors.TooMany)
"""Refusals that are about who tells, or when, and not about what is told."""

_WRONG: Final = "its report was refused: "


def instead_of(telling: Telling, problem: errors.Problem) -> Reported | None:
    """That it is over, where how it ended is more than the service takes; no attempt is left open.

    Nothing of an attempt that was lost, and of a report that is in the place of another.
    """
    if problem.status not in (400, 413, 422) or not isinstance(telling, Reported):
        return None
    if telling.reason.startswith(_WRONG):
        return None
    return Reported(
        ticket=telling.ticket,
        task=telling.task,
        token=telling.token,
        execution=Execution.INFRASTRUCTURE,
        reason=shortened(f"{_WRONG}{problem.detail}"),
    )


def is_away(error: errors.TurnstileError) -> bool:
    """Whether the service may say something else later: it is away, in trouble, or has too much."""
    if isinstance(error, errors.Refused):
        return _may_change(error.problem)
    return isinstance(error, errors.Unanswered)


def _may_change(problem: errors.Problem) -> bool:
    return problem.status >= 500 or problem.status == 429


def _is_for_later(rejected: Rejected) -> bool:
    return _may_change(rejected.problem)


async def deliver_left(reports: Reports, tell: Callable[[Kept], Awaitable[None]]) -> None:
    """Tell what an earlier runner of this home has left, until there is an answer to each."""
    for kept in reports.left():
        report = kept.report
        told = log.bind(ticket=report.ticket, task=report.task, token=report.token)
        while True:
            try:
                await tell(kept)
                told.info("left_report_told")
            except (errors.Unanswered, errors.Refused) as error:
                if is_away(error) or not isinstance(error, errors.Refused):
                    told.warning("reports_wait", reason=str(error))
                    await asyncio.sleep(AGAIN)
                    continue
                told.warning("report_refused", kind=error.problem.kind, reason=str(error))
                if instead := instead_of(kept.report, error.problem):
                    kept = Kept(instead, kept.credential)
                    continue
            with suppress(OSError):
                reports.forget(report)
            break
