"""Endpoints of workers: who is there, what they are at, and how runners come and go."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from msgspec import Struct, structs

from adapters.access import Scope
from adapters.asking import Asker
from adapters.http import problems
from adapters.http.after import reached
from adapters.http.commands import WAIT, command_id
from adapters.http.endpoint import Asked, Endpoint
from adapters.http.problems import Refusal
from adapters.http.tickets import Events, Happened, happened
from adapters.postgres.archive import Archive
from adapters.postgres.views.positions import Positions
from adapters.postgres.views.workers import AtWork, Workers
from domain.envelope import Answer, Submitted
from domain.errors import UnknownWorker
from domain.event import Command
from domain.worker import commands as c
from domain.worker.automata import WorkerState
from projections.history import History
from projections.queries import MOST, Page
from projections.rows import Attempt
from projections.workers import KIND, Worker, WorkerFilter

BEAT: Final = 5.0
"""Seconds between two heartbeats of a worker, as the server wants them."""


class Busy(Struct, frozen=True):
    """A worker, and the attempts that it has under way, the oldest claim first."""

    worker: Worker
    attempts: list[Attempt]


class Registration(c.Register, frozen=True):
    """A runner wants to work under a name.

    `home` is a random id that it keeps on its disk, `session` one of its process. It takes tasks
    that require no more than its `capabilities`, and so many at once as it has `slots`.
    """

    def command(self) -> c.Register:
        """What is asked of the worker."""
        return c.Register(**structs.asdict(self))


class Registered(Struct, frozen=True):
    """The name is the runner's. It is to be heard of every `beat` seconds.

    One that is `draining` is to finish what it has, and gets nothing more.
    """

    worker: str
    version: int
    state: WorkerState
    beat: float


class Steered(Struct, frozen=True):
    """It is done, or was done before: `version` is that of the first event that it caused.

    A query of workers with `?after=` this sees its effect.
    """

    worker: str
    version: int
    partition: int
    sequence: int
    after: str


class WorkerReading:
    """Answers from the views and the archive."""

    def __init__(self, workers: Workers, at_work: AtWork, archive: Archive) -> None:
        self._workers = workers
        self._at_work = at_work
        self._archive = archive

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be read."""
        workers, one = "/v1/workers", "/v1/workers/{worker}"
        of_one = partial(Endpoint, "GET", problems=(404,))
        return (
            Endpoint(
                "GET", workers, "Workers, by their names", Page[Worker], self.workers, WorkerFilter
            ),
            of_one(one, "A worker, and what it is at", Busy, self.worker),
            of_one(
                f"{one}/events",
                "What has happened to a worker",
                Page[Happened],
                self.worker_events,
                Events,
            ),
        )

    async def workers(self, query: WorkerFilter) -> Page[Worker]:
        """Workers, by their names."""
        return await self._workers.page(query)

    async def worker(self, worker: str) -> Busy:
        """The worker. Raises Refusal if there is none."""
        found = await self._worker(worker)
        return Busy(found, list(await self._at_work.attempts(worker, MOST)))

    async def worker_events(self, worker: str, query: Events) -> Page[Happened]:
        """The worker's events, however many were before."""
        after = max(0, query.cursor - 1)
        events = await self._archive.events(
            f"{KIND}{worker}", after, limit=query.limit + 2, until=query.until, at=query.at
        )
        if not events:
            await self._worker(worker)
        history = History()
        if query.cursor and events:
            before, *events = events
            history = History(before.time)
        rows = [happened(event, history.tell(event)) for event in events]
        if len(rows) <= query.limit:
            return Page(rows)
        return Page(rows[: query.limit], str(rows[query.limit - 1].version))

    async def _worker(self, worker: str) -> Worker:
        found = await self._workers.get(worker)
        if found is None:
            raise problems.of(UnknownWorker(worker=worker, field="worker"))
        return found


class WorkerCommands:
    """Asks engines, and says what they answer."""

    def __init__(
        self,
        asker: Asker,
        workers: Workers,
        positions: Positions,
        arrived: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """*arrived* hears of the worker and the session that have registered."""
        self._asker = asker
        self._workers = workers
        self._positions = positions
        self._arrived = arrived

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be done to workers, and what their runners do."""
        one = "/v1/workers/{worker}"
        steering = (
            ("drain", c.Drain, "Let a worker finish what it has, and claim nothing more"),
            ("resume", c.Resume, "Let a worker claim again"),
        )
        return (
            Endpoint(
                "PUT",
                one,
                "Register a runner under this name",
                Registered,
                self.register,
                body=Registration,
                scope=Scope.WORK,
            ),
            Endpoint(
                "POST",
                f"{one}/leave",
                "A runner ends; of a session that is over already, nothing changes",
                Steered,
                self.leave,
                body=c.Leave,
                scope=Scope.WORK,
            ),
            *(
                Endpoint(
                    "POST",
                    f"{one}/{name}",
                    summary,
                    Steered,
                    self.steer,
                    body=kind,
                    scope=Scope.OPERATE,
                    name=name,
                )
                for name, kind, summary in steering
            ),
        )

    async def register(self, worker: str, body: Registration, asked: Asked) -> Registered:
        """Register a runner. When it is answered the view has it, and it may claim."""
        answer = await self._ask(worker, body.command(), asked, WAIT)
        await reached(_after(answer), self._positions)
        row = await self._workers.get(worker)
        if row is None:  # the view is being put in another's place
            raise Refusal(503, "unavailable", "What answers this is away; try again.")
        if row.session == body.session:
            await self._arrived(worker, body.session)
        return Registered(worker, answer.version, row.state, BEAT)

    async def leave(self, worker: str, body: c.Leave, asked: Asked) -> Steered:
        """End a session, however late that is heard."""
        return _steered(worker, await self._ask(worker, body, asked, None))

    async def steer(self, worker: str, body: Command, asked: Asked) -> Steered:
        """Drain or resume a worker."""
        return _steered(worker, await self._ask(worker, body, asked, WAIT))

    async def _ask(
        self, worker: str, command: Command, asked: Asked, patience: float | None
    ) -> Answer:
        """Send the command and wait for its answer. Raises Refusal, NoAnswer, Invalid."""
        submitted = Submitted(
            id=command_id(worker, command, asked.actor, asked.key),
            stream=f"{KIND}{worker}",
            command=command,
            actor=asked.actor,
            patience=patience,
        )
        answer = await self._asker.ask(submitted, WAIT)
        if answer.refusal is not None:
            raise problems.of_answer(answer.refusal)
        return answer


def _after(answer: Answer) -> str:
    return f"{answer.partition}:{answer.sequence}"


def _steered(worker: str, answer: Answer) -> Steered:
    return Steered(worker, answer.version, answer.partition, answer.sequence, _after(answer))
