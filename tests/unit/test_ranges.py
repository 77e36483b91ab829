"""Which part of what is large is asked for."""

import pytest

from adapters.http.problems import Refusal
from adapters.http.ranges import Part, part_of


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-3", Part(0, 4)),
        ("bytes=4-", Part(4, 10)),
        ("bytes=-3", Part(7, 10)),
        ("bytes=-30", Part(0, 10)),
        ("bytes=8-100", Part(8, 10)),
        (" bytes = 9 - 9 ", Part(9, 10)),
    ],
)
def test_one_range_is_a_part(asked: str, part: Part) -> None:
    assert part == part_of(10, '"tag"', asked, None) == part_of(10, '"tag"', asked, '"tag"')


@pytest.mark.parametrize(
    "asked",
    [
        *(None, "", "bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=\u0663-"),
        f"bytes={'9' * 5000}-",
    ],
)
def test_what_is_not_understood_is_as_if_it_were_not_said(asked: str | None) -> None:
    assert part_of(10, '"tag"', asked, None) is None


def test_a_part_of_what_has_changed_is_all_of_it() -> None:
    assert part_of(10, '"tag"', "bytes=0-3", '"other"') is None


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0", "bytes=11-12"])
def test_where_there_is_nothing_is_no_part(asked: str) -> None:
    with pytest.raises(Refusal) as refused:
        part_of(10, '"tag"', asked, None)
    assert 416 == refused.value.problem.status
    assert {"Content-Range": "bytes */10"} == refused.value.headers
