"""A kind of stream, as the engine knows it: where it begins, how it decides, how it changes."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

from domain.envelope import Recorded
from domain.event import Command, Event

S = TypeVar("S")


class Decider(Struct, Generic[S], frozen=True):
    """(initial, decide, evolve) for the streams `kind/…`.

    `decide(state, id, command, now)` is pure: it returns the events that record the outcome, none
    if nothing is left to do, or raises `Refused`. `evolve(state, recorded)` changes the state it
    is given; it never refuses on business grounds. `state` is the type of the state, with which
    it is serialised. `closed(state)` says whether a stream has come to rest: nothing is lost if
    it leaves memory and is folded again when it is asked for.
    """

    kind: str
    state: type[S]
    initial: Callable[[], S]
    decide: Callable[[S, str, Any, datetime], tuple[Event, ...]]
    evolve: Callable[[S, Recorded], None]
    events: tuple[type[Event], ...]
    commands: tuple[type[Command], ...]
    closed: Callable[[S], bool] = lambda state: False


class Deciders:
    """The kinds of stream that an engine serves."""

    def __init__(self, deciders: Iterable[Decider[Any]]) -> None:
        self._by_kind = {decider.kind: decider for decider in deciders}

    def of(self, stream: str) -> Decider[Any] | None:
        """The decider of a stream id, None if nobody knows its kind."""
        return self._by_kind.get(stream.partition("/")[0])

    def __iter__(self) -> Iterator[Decider[Any]]:
        return iter(self._by_kind.values())
