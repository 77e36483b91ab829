"""Secrets that are known do not leave in a log, however the output comes."""

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from workers.runner.masking import MASK, Masking, forms


def masked(secrets: list[str], *writes: bytes) -> bytes:
    masking = Masking(secrets)
    return b"".join([*map(masking.feed, writes), masking.end()])


def covered(secrets: list[str], text: bytes) -> bytes:
    """What is to come out, said as simply as it can be."""
    hidden = [False] * len(text)
    for form in forms(secrets):
        for at in range(len(text)):
            if text.startswith(form, at):
                hidden[at : at + len(form)] = [True] * len(form)
    out, before = bytearray(), False
    for byte, now in zip(text, hidden, strict=True):
        if not now:
            out.append(byte)
        elif not before:
            out += MASK
        before = now
    return bytes(out)


def test_a_secret_is_masked() -> None:
    assert b"my *** is ***!" == masked(["hunter2"], b"my hunter2 is hunter2!")


def test_a_secret_that_comes_in_two_writes_is_masked() -> None:
    assert b"my ***!" == masked(["hunter2"], b"my hun", b"ter2!")


def test_what_only_begins_like_a_secret_is_told() -> None:
    assert b"my hunter and hunt" == masked(["hunter2"], b"my hunter", b" and hunt")


def test_each_line_of_a_long_secret_is_one() -> None:
    key = "-----BEGIN-----\nabcdef\n}\nghijkl\n"
    assert b"*** of } and ***\r\n***\r\n" == masked(
        [key], b"abcdef of } and -----BEGIN-----\r\nghijkl\r\n"
    )


def test_a_secret_is_masked_in_base64_too() -> None:
    assert b"basic ***=" == masked(
        ["me:hunter2"], b"basic " + b64encode(b"me:hunter2").rstrip(b"=") + b"="
    )


def test_a_secret_within_a_longer_one_hides_it_not() -> None:
    assert b"***" == masked(["abc", "abcdef"], b"abc", b"def")
    assert b"***dex" == masked(["abc", "abcdef"], b"abc", b"dex")


def test_no_secret_and_an_empty_one_change_nothing() -> None:
    assert b"\xff\x00\r\x1b[1m" == masked([], b"\xff\x00\r\x1b[1m")
    assert b"as it is" == masked(["", " \n"], b"as it is")


letters = st.text("ab", max_size=12)


@given(st.lists(letters, max_size=4), st.lists(letters, max_size=12))
def test_however_it_is_split_the_same_is_masked(secrets: list[str], writes: list[str]) -> None:
    said = [write.encode() for write in writes]
    whole = b"".join(said)
    assert covered(secrets, whole) == masked(secrets, whole) == masked(secrets, *said)
    assert covered(secrets, whole) == masked(secrets, *[bytes([byte]) for byte in whole])
