"""Why brokers take no connection: aiokafka says so in its log, and its errors do not."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_LOGGER: Final = logging.getLogger("aiokafka")

_found: ContextVar[list[str]] = ContextVar("found")
"""Of the work that is going on, so that each hears of its own refusals and of no other's."""


@contextmanager
def heard() -> Iterator[Sequence[str]]:
    """What the brokers answer, while the context lasts, to those who are started in it."""
    refusals: list[str] = []
    ear, before = _Ear(), _found.set(refusals)
    _LOGGER.addHandler(ear)
    try:
        yield refusals
    finally:
        _LOGGER.removeHandler(ear)
        _found.reset(before)


class _Ear(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Note each refusal once, with its reason: a client asks again and again."""
        refusals = _found.get(None)
        error = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        if refusals is None or not isinstance(error, BaseException):
            return
        said = record.getMessage()
        if error.__cause__ is not None:  # a connection is closed, say, because of something else
            said = f"{said}: {error.__cause__}"
        if said not in refusals:
            refusals.append(said)
