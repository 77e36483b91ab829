"""The demonstration's story and its checks, without a server: a log that is wrong is found out."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import pytest

from adapters.asking import Asker, NoAnswer
from adapters.codec import Codec
from adapters.log import Received
from domain.envelope import Answer, Recorded, Submitted
from domain.kinds import DECIDERS
from domain.ticket.events import ReportRefused
from tests.unit.given import NOON
from workers.demo.checks import checks
from workers.demo.story import TICKET, Engines, Story, Unexpected
from workers.partition import Partition


class Engine:
    """An engine that is killed when it is told to; the only one who decides."""

    def __init__(self, name: str, house: "House") -> None:
        self.name = name
        self.pid = 1
        self.log = Path(f"{name}.log")
        self._house = house
        self._taken = [{"partition": 0, "sequence": len(house.events)}]

    async def kill(self) -> None:
        self._house.serving = False

    async def stop(self) -> int:
        return self._house.status

    async def meanwhile(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return await work

    def said(self, event: str) -> list[dict[str, int]]:
        return self._taken


class House:
    """A log of one partition, its engines, and who asks them."""

    def __init__(self, *, immortal: bool = False, status: int = 0) -> None:
        self.events: list[Recorded] = []
        self.serving = False
        self.status = status
        self.told: list[tuple[str, str]] = []
        self._immortal = immortal
        self._inbox: list[Submitted] = []
        self._partition = Partition(0, 1, DECIDERS, Codec(DECIDERS))
        self._position = 0

    async def start(self, name: str) -> Engine:
        self.serving = True
        return Engine(name, self)

    async def ask(self, submitted: Submitted, timeout: float) -> Answer:
        self._inbox.append(msgspec.structs.replace(submitted, reply_to="me"))
        await asyncio.sleep(0)  # it takes a while
        if not (self.serving or self._immortal):
            raise NoAnswer
        batch = []
        for command in self._inbox:
            self._position += 1
            batch.append(Received(position=self._position, at=NOON, submitted=command))
        self._inbox = []
        decided = self._partition.decide(batch, NOON)
        self.events += (one.recorded for one in decided.events)
        return decided.replies[-1].answer

    def tell(self, who: str, what: str) -> None:
        self.told.append((who, what))

    def wait(self, what: str) -> None:
        pass

    async def play(self) -> Story:
        story = Story(cast("Asker", self), cast("Engines", self), self)
        await story.tell()
        return story


Log = list[Recorded]
Answers = dict[UUID, list[Answer]]


async def test_the_story_ends_as_it_must() -> None:
    house = House()
    story = await house.play()
    assert [] == failing(house.events, story)


async def test_the_story_needs_an_engine_that_dies() -> None:
    with pytest.raises(Unexpected, match="somebody answered although the engine was killed"):
        await House(immortal=True).play()


async def test_the_story_needs_an_engine_that_stops_cleanly() -> None:
    with pytest.raises(Unexpected, match="engine-b ended with status 1 instead of 0"):
        await House(status=1).play()


def failing(log: Log, story: Story, answers: Answers | None = None) -> list[str]:
    """The first words of what does not hold."""
    checked = checks({0: log}, TICKET, answers or story.answers, story.claim, story.late)
    return [" ".join(check.sentence.split()[:3]) for check in checked if not check.holds]


def twice(log: Log, story: Story) -> Log:
    """The claim was decided twice: by the engine that was killed, too."""
    at = next(n for n, fact in enumerate(log) if fact.causationid == story.claim)
    return numbered([*log[: at + 1], log[at], *log[at + 1 :]])


def numbered(log: Log) -> Log:
    return [
        msgspec.structs.replace(fact, originator_version=n, sequence=n)
        for n, fact in enumerate(log, start=1)
    ]


def gap(log: Log, story: Story) -> Log:
    """An event is lost, and with it its number."""
    return [fact for fact in log if fact.originator_version != 5]


def sequence_gap(log: Log, story: Story) -> Log:
    """A sequence was given and is not there."""
    return [msgspec.structs.replace(fact, sequence=fact.sequence + 1) for fact in log]


def unnoticed(log: Log, story: Story) -> Log:
    """The late report was refused without a trace."""
    return numbered([fact for fact in log if not isinstance(fact.event, ReportRefused)])


def unfinished(log: Log, story: Story) -> Log:
    """The last event is lost."""
    return log[:-1]


def other_id(log: Log, story: Story) -> Log:
    """An event does not have the id that follows from its cause."""
    return [*log[:-1], msgspec.structs.replace(log[-1], id=uuid4())]


def somebody_elses(log: Log, story: Story) -> Log:
    """An event of a ticket that nobody opened."""
    last = msgspec.structs.replace(log[-1], originator_id="ticket/2", sequence=len(log) + 1)
    return [*log, last]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda log, story: [], {"the ticket passed:", "19 commands were", "the late report"}),
        (lambda log, story: log[1:], {"the ticket passed:", "its versions 1", "19 commands were"}),
        (gap, {"its versions 1"}),
        (sequence_gap, {"its versions 1"}),
        (twice, {"the claim that", "19 commands were"}),
        (unnoticed, {"the late report"}),
        (unfinished, {"the ticket passed:"}),
        (other_id, {"19 commands were"}),
        (somebody_elses, {"its versions 1"}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_a_log_that_is_wrong_is_found_out(
    damage: Callable[[Log, Story], Log], expected: set[str]
) -> None:
    house = House()
    story = await house.play()
    assert expected <= set(failing(damage(house.events, story), story))


async def test_two_answers_to_one_command_are_found_out() -> None:
    house = House()
    story = await house.play()
    first, second = story.answers[story.claim]
    answers = {
        **story.answers,
        story.claim: [first, msgspec.structs.replace(second, version=second.version + 1)],
    }
    assert ["19 commands were", "the claim that"] == failing(house.events, story, answers)


async def test_an_accepted_command_that_the_log_does_not_know_is_found_out() -> None:
    house = House()
    story = await house.play()
    answers = {**story.answers, uuid4(): [Answer(command_id=uuid4(), partition=0, version=3)]}
    assert ["20 commands were"] == failing(house.events, story, answers)
