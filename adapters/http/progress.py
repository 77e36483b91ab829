"""Endpoints that say how the whole is: partitions, readiness, and that this process lives."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from starlette.responses import Response

from adapters.http.endpoint import Endpoint
from adapters.http.problems import BASE, CONTENT_TYPE, TITLES, Problem
from adapters.log import LogError
from projections.progress import ENGINE, Judged, State


class Health(Struct, frozen=True):
    """This process answers: so its loop turns. Of anything else it says nothing."""

    alive: bool


class Ready(Struct, frozen=True):
    """The database answers, and everything is at the end or moves."""

    ready: bool


class Behind(Struct, frozen=True):
    """Who is behind where, and what to do."""

    partition: int
    of: str
    owner: str | None
    since: datetime | None
    advice: str


class NotReady(Problem, frozen=True, omit_defaults=True, kw_only=True):
    """Why it is not ready, with each partition that is behind."""

    behind: tuple[Behind, ...] = ()


class Way(Struct, frozen=True):
    """How far an engine or a view is in a partition.

    `done` of `end`: for the engine positions of the inbox, for a view sequences of events. The
    `owner` keeps the partition for `lease` seconds more, or nobody has had it for `vacant` seconds;
    null is what the log does not know. One that is behind has not moved `since` then.
    """

    of: str
    state: State
    done: int
    end: int
    owner: str | None
    lease: float | None
    vacant: float | None
    since: datetime | None
    advice: str


class Partition(Struct, frozen=True):
    """A partition: its commands, its events, and how far everybody is."""

    partition: int
    inbox: int
    decided: int
    events: int | None
    engine: Way
    views: tuple[Way, ...]


class Partitions(Struct, frozen=True):
    """All partitions, in their order."""

    rows: tuple[Partition, ...]


class Looking:
    """Answers from looks at the log and the views."""

    def __init__(self, judge: Callable[[], Awaitable[Sequence[Judged]]]) -> None:
        self._judge = judge

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be asked."""
        return (
            Endpoint("GET", "/v1/partitions", "How far everything is", Partitions, self.partitions),
            Endpoint("GET", "/v1/health", "Whether this process lives", Health, self.health),
            Endpoint(
                "GET",
                "/v1/ready",
                "Whether all of it works",
                Ready,
                self.ready,
                others=((503, NotReady),),
            ),
        )

    async def health(self) -> Health:
        """This process lives."""
        return Health(alive=True)

    async def ready(self) -> Ready | Response:
        """Whether the database answers and nothing is behind without moving."""
        try:
            found = await self._judge()
        except LogError as error:
            return _not_ready(f"It does not answer: {error}.", ())
        behind = tuple(
            Behind(one.course.partition, one.course.of, one.course.owner, one.since, one.advice)
            for one in found
            if not one.is_well
        )
        if not behind:
            return Ready(ready=True)
        first = behind[0]
        more = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
        return _not_ready(
            f"Partition {first.partition} of {first.of} is behind{more}: {first.advice}.", behind
        )

    async def partitions(self) -> Partitions:
        """All partitions. Raises Unavailable."""
        found = await self._judge()
        engines = [one for one in found if one.course.of == ENGINE]
        views: dict[int, list[Way]] = {one.course.partition: [] for one in engines}
        ends: dict[int, int] = {}
        for one in found:
            if one.course.of != ENGINE:
                views[one.course.partition].append(_way(one))
                ends[one.course.partition] = one.course.end
        return Partitions(
            tuple(
                Partition(
                    partition=n,
                    inbox=one.course.end,
                    decided=one.course.done,
                    events=ends.get(n),
                    engine=_way(one),
                    views=tuple(views[n]),
                )
                for one in engines
                for n in (one.course.partition,)
            )
        )


def _way(one: Judged) -> Way:
    course = one.course
    return Way(
        of=course.of,
        state=one.state,
        done=course.done,
        end=course.end,
        owner=course.owner,
        lease=course.lease,
        vacant=course.vacant,
        since=one.since,
        advice=one.advice,
    )


def _not_ready(detail: str, behind: tuple[Behind, ...]) -> Response:
    problem = NotReady(
        type=f"{BASE}not-ready", title=TITLES[503], status=503, detail=detail, behind=behind
    )
    return Response(msgspec.json.encode(problem), 503, media_type=CONTENT_TYPE)
