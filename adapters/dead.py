"""Dead letters: what was put aside, to be looked at, and then injected again or dropped.

    page, show ──► inject ──► the inbox, or the request topic, again ──► settled
                   drop ───────────────────────────────────────────────► settled

A letter that is settled is in no list but that of the settled ones. What is injected keeps its id:
if it was accepted after all, it changes nothing. If it is put aside again, that is a new letter.
It is sent before it is settled; who stops in between finds it listed still, and may inject it
again. `tests/contract/test_dead.py` is the other half of this file.
"""

import base64
import codecs
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

from adapters.log import Log, Rejected
from domain.envelope import Submitted
from domain.errors import Conflict, Invalid, Missing
from projections.queries import Page, Paged

SHOWN: Final = 64 * 1024
"""Bytes of a letter's content that are shown, and as many of its headers."""

REASON: Final = 1_000
"""Characters of a reason that are listed."""

_decoder: Final = codecs.getincrementaldecoder("utf-8")
_ID: Final = re.compile(r"(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})").fullmatch


class NoSuchLetter(Missing):
    """There is no dead letter {letter!r}."""


class LetterSettled(Conflict):
    """Dead letter {letter!r} is settled: {by} has {how} it."""


class NotInjectable(Conflict):
    """Dead letter {letter!r} cannot be injected: {reason}."""


class LetterFilter(Paged, frozen=True, kw_only=True):
    """The letters that wait for somebody, or those that are `settled`; the newest first."""

    settled: bool = False


How = Literal["injected", "dropped"]


class Settlement(Struct, frozen=True):
    """What became of a letter, by whom, and why if that was said."""

    how: How
    by: str
    at: datetime
    why: str | None = None


class Letter(Struct, frozen=True):
    """What was put aside `at` a time, and as much of it as could be read.

    A command lay in the inbox of a `partition`, at a `position`. A request lay in a `topic` of
    foreign producers, and its position is the offset there; its actor is the one that it names.
    `size` is what it had, which may be more than is kept.
    """

    id: str
    at: datetime
    kind: Literal["command", "request"]
    topic: str | None
    partition: int
    position: int | None
    stream: str | None
    type: str | None
    command: str | None
    actor: str | None
    reason: str
    size: int
    settled: Settlement | None = None


class Content(Struct, frozen=True):
    """What a letter holds: `text` where it is text, else `base64`; only a beginning if `cut`."""

    text: str | None = None
    base64: str | None = None
    cut: bool = False

    @classmethod
    def of(cls, value: bytes, *, cut: bool = False) -> "Content":
        """The content, as much of it as is shown."""
        shown = value[:SHOWN]
        cut = cut or len(value) > SHOWN
        try:
            # What is cut may end within a character.
            return cls(text=_decoder().decode(shown, final=not cut), cut=cut)
        except UnicodeDecodeError:
            return cls(base64=base64.b64encode(shown).decode(), cut=cut)


class Header(Struct, frozen=True):
    """A header that a request came with."""

    name: str
    value: str


class Shown(Struct, frozen=True):
    """A letter with what it holds."""

    letter: Letter
    content: Content
    headers: Sequence[Header] = ()


class DeadLetters(Protocol):
    """The dead letters of one log. All of this raises Unavailable where it is away."""

    async def page(self, asked: LetterFilter) -> Page[Letter]:
        """Letters, newest first."""
        ...

    async def show(self, id_: str) -> Shown:
        """The letter and what it holds. Raises NoSuchLetter."""
        ...

    async def inject(self, id_: str, actor: str) -> Letter:
        """Send it again to where it belongs, without the patience that a command had.

        Raises:
            NoSuchLetter: there is none of that id.
            LetterSettled: somebody was quicker.
            NotInjectable: it is cut or cannot be understood; it is as it was.
        """
        ...

    async def drop(self, id_: str, actor: str, reason: str | None = None) -> Letter:
        """Have done with it, for a reason. Raises NoSuchLetter and LetterSettled."""
        ...

    async def count(self) -> Sequence[int]:
        """How many wait for somebody, in each partition of the log."""
        ...


def letter_id(partition: int, place: int) -> str:
    """The id of the letter at a place in a partition of the dead letters."""
    return f"{partition}-{place}"


def place_of(id_: str) -> tuple[int, int]:
    """Where the letter of this id lies. Raises NoSuchLetter."""
    found = _ID(id_)
    if found is None:
        raise NoSuchLetter(letter=id_)
    return int(found[1]), int(found[2])


def unsettled(id_: str, letter: Letter | None) -> Letter:
    """The letter, if it waits for somebody. Raises NoSuchLetter and LetterSettled."""
    if letter is None:
        raise NoSuchLetter(letter=id_)
    if letter.settled is not None:
        raise LetterSettled(letter=id_, by=letter.settled.by, how=letter.settled.how)
    return letter


async def send_again(log: Log, letter: str, command: Submitted) -> None:
    """Send the command of a letter, with its id; whoever asks for it now has time.

    Raises NotInjectable, and Unavailable.
    """
    try:
        await log.send([msgspec.structs.replace(command, patience=None)])
    except (Invalid, Rejected) as refused:
        raise not_injectable(letter, refused) from refused


def not_injectable(letter: str, reason: object) -> NotInjectable:
    """The refusal, with its reason as a part of the sentence."""
    return NotInjectable(letter=letter, reason=str(reason).removesuffix("."))
