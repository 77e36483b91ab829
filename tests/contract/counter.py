"""A kind of stream for tests of the log and the engine: it counts, and breaks on demand."""

from datetime import datetime
from uuid import UUID, uuid4

from msgspec import Struct

from adapters.codec import Codec
from adapters.log import Decided, Encoded
from domain.decider import Decider, Deciders
from domain.envelope import Recorded, Submitted, event_id, partition_of
from domain.errors import Invalid
from domain.event import Command, Event


class Count(Command, frozen=True):
    topic = "test.count"

    n: int = 1
    events: int = 1
    padding: str = ""


class Explode(Command, frozen=True):
    """Makes `decide` raise."""

    topic = "test.explode"


class Poison(Command, frozen=True):
    """Makes `evolve` raise."""

    topic = "test.poison"


class Bewilder(Command, frozen=True):
    """Makes an event that not every log can store."""

    topic = "test.bewilder"


class Unknown(Command, frozen=True):
    """No engine knows it."""

    topic = "test.unknown"


class Counted(Event, frozen=True):
    topic = "test.counted"

    n: int
    padding: str = ""


class Poisoned(Event, frozen=True):
    topic = "test.poisoned"


class Strange(Event, frozen=True):
    """Its name is one that not every log can store."""

    topic = "test.strange\0"


class Counter(Struct):
    total: int = 0


def decide(counter: Counter, name: str, command: Command, now: datetime) -> tuple[Event, ...]:
    match command:
        case Count(n=0):
            return ()
        case Count(n=n) if n < 0:
            raise Invalid(field="n", reason="it is negative")
        case Count(n=n, events=events, padding=padding):
            return (Counted(n, padding),) * events
        case Poison():
            return (Poisoned(),)
        case Bewilder():
            return (Strange(),)
        case _:
            raise ZeroDivisionError("as asked")


def evolve(counter: Counter, recorded: Recorded) -> None:
    if isinstance(recorded.event, Strange):
        return
    if not isinstance(recorded.event, Counted):
        raise ZeroDivisionError("as asked")
    counter.total += recorded.event.n


COUNTERS = Decider(
    kind="counter",
    state=Counter,
    initial=Counter,
    decide=decide,
    evolve=evolve,
    events=(Counted, Poisoned, Strange),
    commands=(Count, Explode, Poison, Bewilder),
)
DECIDERS = Deciders([COUNTERS])
CODEC = Codec(DECIDERS)
SENDERS_CODEC = Codec(
    [Decider("counter", Counter, Counter, decide, evolve, (Counted, Poisoned), (Count, Unknown))]
)
"""Of a sender that is ahead of the engines."""


def stream_in(partition: int, partitions: int, salt: str = "") -> str:
    """The id of a stream that lives there."""
    n = 0
    while partition_of(f"counter/{salt}{n}", partitions) != partition:
        n += 1
    return f"counter/{salt}{n}"


def asked(
    command: Command,
    stream: str = "counter/1",
    *,
    id: UUID | None = None,
    patience: float | None = None,
    reply_to: str | None = None,
) -> Submitted:
    return Submitted(
        id=id or uuid4(),
        stream=stream,
        command=command,
        actor="a test",
        patience=patience,
        reply_to=reply_to,
    )


def batch(
    submitted: Submitted, now: datetime, *, version: int, sequence: int, upto: int, count: int = 1
) -> Decided:
    """What an engine would commit: so many events from this version and sequence on."""
    return Decided(
        upto=upto,
        events=[
            Encoded(
                Recorded(
                    id=event_id(submitted.stream, submitted.id, n + 1),
                    originator_id=submitted.stream,
                    originator_version=version + n,
                    event=Counted(1),
                    time=now,
                    actor=submitted.actor,
                    causationid=submitted.id,
                    sequence=sequence + n,
                    upto=upto,
                ),
                CODEC.encode_event(Counted(1)),
            )
            for n in range(count)
        ],
    )
