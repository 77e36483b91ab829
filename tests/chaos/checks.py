"""What must be true of a log whatever has happened to who wrote it."""

from collections import defaultdict

from adapters.codec import Codec
from adapters.log import Log
from domain.envelope import Recorded
from domain.event import CommandNoted
from domain.kinds import DECIDERS
from domain.ticket.state import Ticket
from tests.chaos.load import Load
from tests.chaos.processes import Processes
from workers.partition import Partition

Events = dict[int, list[Recorded]]


async def everything(log: Log) -> Events:
    """All events of all partitions. Raises Gap where a sequence is missing."""
    return {number: await _events(log, number) for number in range(log.partitions)}


async def _events(log: Log, partition: int) -> list[Recorded]:
    events: list[Recorded] = []
    if end := await log.end(partition):
        async for page in log.follow(partition):
            events += page
            if events[-1].sequence >= end:
                break
    return events


def check(load: Load, engines: Processes, events: Events) -> None:
    """Nothing is lost or repeated, and every engine's state was the fold of its events."""
    troubles = list(engines.troubles())
    assert not troubles, "\n\n".join(troubles)
    nothing_is_repeated(events)
    _nothing_is_lost(load, events)
    every_state_is_the_fold(engines, events)


def nothing_is_repeated(events: Events) -> None:
    """No event has the id of another, no stream a gap, and no command was decided twice."""
    facts = [event for partition in events.values() for event in partition]
    assert len(facts) == len({event.id for event in facts}), "an event id twice"
    versions: dict[str, list[int]] = defaultdict(list)
    caused: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in facts:
        versions[event.originator_id].append(event.originator_version)
        caused[event.originator_id, str(event.causationid)].append(event.originator_version)
    for stream, found in versions.items():
        assert list(range(1, len(found) + 1)) == found, f"{stream} has a gap"
    for (stream, _), found in caused.items():
        assert list(range(found[0], found[-1] + 1)) == found, f"{stream}: a command decided twice"


def _nothing_is_lost(load: Load, events: Events) -> None:
    facts = [event for partition in events.values() for event in partition]
    streams = {event.originator_id for event in facts}
    assert set(load.streams) == streams, "a ticket was lost, or came from nowhere"
    first = {str(event.causationid): event for event in reversed(facts)}
    for id_, answer in load.answers.items():
        fact = first.get(str(id_))
        assert fact is not None, f"the accepted command {id_} was lost"
        told = fact.event.version if isinstance(fact.event, CommandNoted) else 0
        assert answer.version == (told or fact.originator_version)
    there = {(event.originator_id, event.originator_version): event for event in facts}
    for accepted in load.http.accepted if load.http else ():
        fact = there.get((f"ticket/{accepted.ticket}", accepted.version))
        assert fact is not None, f"{accepted} was lost"
        assert fact.sequence <= accepted.sequence, f"{accepted} came later"


def every_state_is_the_fold(engines: Processes, events: Events) -> None:
    """So it was whenever an engine let a partition go; and in the end no ticket is open."""
    released = engines.said("released")
    compared = 0
    for number, facts in events.items():
        partition = Partition(number, len(events), DECIDERS, Codec(DECIDERS))
        digests = {
            int(str(line["sequence"])): line["digest"]
            for line in released
            if line["partition"] == number and "digest" in line
        }
        for event in facts:
            partition.fold(event)
            if event.sequence in digests:
                assert digests[event.sequence] == partition.digest(), "an engine's state differs"
                compared += 1
        for one in partition.streams.values():
            is_over = not isinstance(one.state, Ticket) or not one.state.is_open
            assert is_over, f"{one.id} has not ended"
        assert partition.sequence in digests, "no engine served the partition at the end"
    assert compared >= len(events)
