"""Whether something moves: two looks tell, and how long it has stood is remembered."""

from datetime import timedelta

from msgspec.structs import replace

from projections.progress import Course, Judged, State, judged
from tests.unit.given import NOON

SECOND = timedelta(seconds=1)
BEHIND = Course("engine", 3, done=4, end=9, owner="rack-1")


def one(*courses: Course) -> Judged:
    """The judgement of looks a second apart."""
    found: tuple[Judged, ...] = ()
    for n, course in enumerate(courses):
        found = tuple(judged(found, [course], NOON + n * SECOND))
    return found[0]


def test_what_has_nothing_left_to_do_is_at_the_end() -> None:
    assert Judged(replace(BEHIND, done=9), State.AT_END) == one(replace(BEHIND, done=9))


def test_what_is_behind_at_one_look_has_not_been_seen_to_move() -> None:
    assert Judged(BEHIND, State.BEHIND, NOON) == one(BEHIND)


def test_what_got_something_done_between_two_looks_moves() -> None:
    later = replace(BEHIND, done=5, end=99)
    assert Judged(later, State.MOVING) == one(BEHIND, later)


def test_what_stands_is_behind_since_it_was_first_seen_so() -> None:
    assert Judged(BEHIND, State.BEHIND, NOON) == one(BEHIND, BEHIND, BEHIND)


def test_what_stands_again_is_behind_since_it_stands_again() -> None:
    later = replace(BEHIND, done=5)
    assert Judged(later, State.BEHIND, NOON + 2 * SECOND) == one(BEHIND, later, later)


def test_who_gets_only_more_to_do_does_not_move() -> None:
    assert State.BEHIND is one(BEHIND, replace(BEHIND, end=99)).state


def test_a_view_that_was_made_anew_is_behind() -> None:
    assert State.BEHIND is one(BEHIND, replace(BEHIND, done=0)).state


def test_partitions_and_views_are_judged_apart() -> None:
    other = replace(BEHIND, of="tickets", done=1)
    looks = [[BEHIND, other], [BEHIND, replace(other, done=2)]]
    first = judged((), looks[0], NOON)
    assert [State.BEHIND, State.MOVING] == [
        each.state for each in judged(first, looks[1], NOON + SECOND)
    ]


def test_the_advice_names_who_does_not_move_or_what_is_to_be_started() -> None:
    assert "rack-1 has it and does not move" in one(BEHIND).advice
    vacant = replace(BEHIND, of="tickets", owner=None)
    assert "nobody has it: is a `turnstile projector` running?" in one(vacant).advice
    assert "" == one(replace(BEHIND, done=9)).advice
