"""What is put into a set of hashes stays there, in about the memory that was promised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.hashes import SHARDS, Hashes, hash_of

CROWDED = st.integers(1, 2**64 - 1) | st.integers(0, 60).map(lambda n: 1 + SHARDS * n)
"""Also some that want the same shard, and in it the same place."""


@given(st.lists(CROWDED, max_size=400), st.lists(CROWDED, max_size=40))
def test_exactly_what_was_added_is_there(added: list[int], asked: list[int]) -> None:
    hashes = Hashes()
    for one in added:
        hashes.add(one)
    assert [one in added for one in asked] == [one in hashes for one in asked]
    assert all(one in hashes for one in added)
    assert len(set(added)) == len(hashes)


@given(st.lists(CROWDED, max_size=400), st.lists(CROWDED, max_size=40))
def test_a_copy_made_of_the_parts_is_equal(added: list[int], later: list[int]) -> None:
    hashes, copy = Hashes(), Hashes()
    for one in added:
        hashes.add(one)
    for number, shard in enumerate(hashes.shards()):
        copy.put(number, shard)
    for one in later:
        copy.add(one)
    assert len({*added, *later}) == len(copy)
    assert all(one in copy for one in (*added, *later))


@pytest.mark.parametrize("shard", [b"", bytes(7), bytes(8 * 12), b"\1" * 64], ids=len)
def test_what_can_be_no_part_is_refused(shard: bytes) -> None:
    with pytest.raises(ValueError, match=r"no shard|array length|not a multiple"):
        Hashes().put(0, shard)


def test_an_id_has_the_same_hash_in_every_process() -> None:
    assert 14854435791145833597 == hash_of("ticket/9")


def test_however_many_there_are_each_takes_eight_to_twenty_bytes() -> None:
    hashes = Hashes()
    for n in range(30_000):
        hashes.add(hash_of(f"ticket/{n}"))
        if n > 2_000:
            assert 8 * len(hashes) < hashes.size < 21 * len(hashes) + 8_192
