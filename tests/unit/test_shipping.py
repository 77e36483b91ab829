"""What an attempt says comes to the service as its log: whole, in order, bounded."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.client.errors import Problem, Refused, Unavailable
from workers.runner.shipping import END, WAITING, Shipper, size

LIMIT = 64 * 2**20


class Log:
    """A log that takes what comes at its end, and knows what came before."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.appends: list[int] = []
        self.ended = False
        self.opened = asyncio.Event()
        self.opened.set()
        self.failures: list[Exception] = []

    async def append(self, start: int, data: bytes, last: bool) -> None:
        await self.opened.wait()
        if self.failures:
            raise self.failures.pop()
        assert len(self.data) == start
        self.data += data
        self.appends.append(len(data))
        self.ended = last


async def shipped(*writes: bytes, secrets: tuple[str, ...] = (), limit: int = LIMIT) -> bytes:
    log = Log()
    shipper = Shipper(log.append, secrets, limit)
    for write in writes:
        await shipper.write(write)
    assert len(log.data) == 0 or not log.ended
    assert await shipper.close() == len(log.data)
    assert log.ended
    return bytes(log.data)


async def test_what_is_written_is_shipped_byte_for_byte() -> None:
    strange = bytes(range(256)) + b"\r50 %\r\x1b[32mdone\x1b[0m\xc3(\n"
    assert strange * 3 == await shipped(strange, strange * 2)


async def test_a_log_without_a_word_ends_too() -> None:
    assert b"" == await shipped()


async def test_little_is_shipped_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.runner.shipping.SOON", 0.01)
    log = Log()
    shipper = Shipper(log.append, (), LIMIT)
    await shipper.write(b"a word")
    async with asyncio.timeout(10):
        while not log.data:
            await asyncio.sleep(0)
    assert (b"a word", False) == (bytes(log.data), log.ended)
    await shipper.close()


async def test_secrets_do_not_leave() -> None:
    assert b"a *** b" == await shipped(b"a s3c", b"ret b", secrets=("s3cret",))


async def test_whoever_says_more_than_can_be_sent_waits() -> None:
    log = Log()
    log.opened.clear()
    shipper = Shipper(log.append, (), LIMIT)
    await shipper.write(bytes(WAITING))
    writing = asyncio.create_task(shipper.write(b"more"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not writing.done()
    log.opened.set()
    await writing
    assert WAITING + 4 == await shipper.close()


async def test_one_line_of_50_mb_is_shipped_in_pieces() -> None:
    log = Log()
    shipper = Shipper(log.append, ("secret" * 10,), LIMIT)
    for _ in range(50):
        await shipper.write(bytes(10**6))
    assert 50 * 10**6 == await shipper.close()
    assert max(log.appends) <= WAITING


async def test_what_nobody_answered_is_sent_again_at_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.runner.shipping.SOON", 0.001)
    log = Log()
    log.failures = [Unavailable("away"), Unavailable("away")]
    shipper = Shipper(log.append, (), LIMIT)
    await shipper.write(b"a word")
    assert 6 == await shipper.close()
    assert b"a word" == bytes(log.data)


async def test_where_the_log_is_refused_the_attempt_goes_on() -> None:
    log = Log()
    log.failures = [Refused(Problem("urn:x", "No", 409, "No."))]
    shipper = Shipper(log.append, (), LIMIT)
    for _ in range(40):
        await shipper.write(bytes(WAITING // 10))
    with pytest.raises(Refused):
        await shipper.close()


async def test_a_log_that_is_too_long_keeps_its_beginning_and_its_end() -> None:
    said = b"".join(b"line %d\n" % n for n in range(100_000))
    log = await shipped(said, limit=2**10)
    lost = len(said) - 2**10 - END
    marks = (
        b"\n[turnstile: the log is longer than 1 KiB; what follows is not kept]\n"
        b"[turnstile: %d bytes are not kept; this is the end]\n" % lost
    )
    assert said[: 2**10] + marks + said[-END:] == log


async def test_a_log_that_is_hardly_too_long_is_kept_whole() -> None:
    said = bytes(END + 2**10)
    assert said == await shipped(said, limit=2**10)


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, 400))
def test_however_it_is_written_the_same_is_shipped(writes: list[bytes], limit: int) -> None:
    one, many = (asyncio.run(shipped(*some, limit=limit)) for some in ((b"".join(writes),), writes))
    assert one == many


def test_sizes_are_for_people() -> None:
    assert ["64 MiB", "1 KiB", "1000 bytes"] == [size(n) for n in (LIMIT, 1024, 1000)]
