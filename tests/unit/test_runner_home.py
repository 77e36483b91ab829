"""The directory of a runner, which outlives it."""

from pathlib import Path

import pytest
from msgspec import Struct

from workers.runner.clearing import clear
from workers.runner.home import HomeTaken, home, read_all, write


def test_a_home_has_the_same_id_for_ever(tmp_path: Path) -> None:
    with home(tmp_path / "runner") as first:
        known = first.id
    with home(tmp_path / "runner") as again:
        assert known == again.id
    with home(tmp_path / "another") as other:
        assert known != other.id


def test_a_home_has_one_runner_at_a_time(tmp_path: Path) -> None:
    with home(tmp_path), pytest.raises(HomeTaken, match="--dir"), home(tmp_path):
        pass


def test_nobody_else_may_look_into_a_home(tmp_path: Path) -> None:
    with home(tmp_path / "runner") as held:
        for folder in (held.path, held.work, held.reports, held.mirrors):
            assert 0o700 == folder.stat().st_mode & 0o777


async def test_an_attempt_has_an_empty_place_that_is_gone_in_the_end(tmp_path: Path) -> None:
    with home(tmp_path) as held:
        held.work.joinpath("9~3").mkdir()
        held.work.joinpath("9~3", "left").touch()
        async with held.place("9", 3) as place:
            assert [] == [*place.iterdir()]
            place.joinpath("new").touch()
        assert [] == [*held.work.iterdir()]


def test_what_a_killed_runner_has_left_is_cleared(tmp_path: Path) -> None:
    with home(tmp_path) as held:
        held.work.joinpath("9~3", "deep", "deeper").mkdir(parents=True)
        held.clear()
        assert [] == [*held.work.iterdir()]


def test_a_place_is_cleared_whatever_modes_a_task_has_left_in_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    closed = place / "closed"
    closed.mkdir(parents=True)
    closed.joinpath("file").touch(mode=0o000)
    closed.chmod(0o000)
    clear(place)
    assert not place.exists()


class Note(Struct):
    said: str


def test_what_is_written_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for said in ("b", "a"):
        write(tmp_path / f"{said}.json", b'{"said":"%s"}' % said.encode())
    assert ["a", "b"] == [note.said for _, note in read_all(tmp_path, Note)]


def test_what_cannot_be_read_is_put_aside_and_stops_nobody(tmp_path: Path) -> None:
    tmp_path.joinpath("a.json").write_bytes(b"{")
    tmp_path.joinpath(".b.json").write_bytes(b"half of it")
    tmp_path.joinpath("c.json").write_bytes(b'{"said":"c"}')
    assert ["c"] == [note.said for _, note in read_all(tmp_path, Note)]
    assert tmp_path.joinpath("a.unreadable").exists()


def test_an_id_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe\x00", b"two\nlines"):
        tmp_path.joinpath("id").write_bytes(content)
        with home(tmp_path) as held:
            assert held.id == tmp_path.joinpath("id").read_text()
            assert 16 == len(held.id)
