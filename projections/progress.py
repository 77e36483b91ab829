"""Whether everything moves: judged from two looks, since one look cannot tell."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

ENGINE = "engine"
ROLES = (ENGINE, "reactor")
"""Who goes along partitions and is no view that a projector folds."""


class Course(Struct, frozen=True):
    """Somebody's way along one partition, at one look.

    An engine's is from the inbox's positions `done` to its `end`; that of a view, whose name it
    has, goes along the sequences of events. The `owner` keeps it for `lease` seconds more, if that
    is known; where there is no owner, it has been `vacant` for so many.
    """

    of: str
    partition: int
    done: int
    end: int
    owner: str | None = None
    lease: float | None = None
    vacant: float | None = None


class State(StrEnum):
    """What two looks tell of a course."""

    AT_END = "at the end"
    MOVING = "moving"
    BEHIND = "behind"


class Judged(Struct, frozen=True):
    """A course with its state; one that is behind has not moved `since` then, at the least."""

    course: Course
    state: State
    since: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Whether nobody need look at it."""
        return self.state is not State.BEHIND

    @property
    def advice(self) -> str:
        """What to do about it, for people; nothing if it is well."""
        if self.is_well:
            return ""
        course = self.course
        role = course.of if course.of in ROLES else "projector"
        if course.owner is None:
            return f"nobody has it: is a `turnstile {role}` running? Start one, or see its log"
        return (
            f"{course.owner} has it and does not move: see its log, or restart that "
            f"`turnstile {role}`"
        )


def judged(before: Iterable[Judged], looked: Sequence[Course], at: datetime) -> Sequence[Judged]:
    """What was looked at *at* an instant, judged by what there was *before*.

    What was not looked at before counts as not having moved.
    """
    known = {(one.course.of, one.course.partition): one for one in before}
    return [_judged(known.get((one.of, one.partition)), one, at) for one in looked]


def _judged(before: Judged | None, course: Course, at: datetime) -> Judged:
    if course.done >= course.end:
        return Judged(course, State.AT_END)
    if before is not None and course.done > before.course.done:
        return Judged(course, State.MOVING)
    since = before.since if before is not None and before.since is not None else at
    return Judged(course, State.BEHIND, since)
