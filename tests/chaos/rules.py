"""What policies and clocks promise of tickets, looked up in the log when all is over."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from domain.envelope import Recorded
from domain.event import Event
from domain.policy import REAPER
from domain.ticket import events as e
from domain.ticket.automata import TICKET, TICKET_ENDED, TicketState
from tests.chaos.lives import Lives

E = TypeVar("E", bound=Event)
K = TicketState


class Histories:
    """The tickets' events, by ticket."""

    def __init__(self, events: Iterable[Recorded]) -> None:
        self.of: dict[str, list[Recorded]] = defaultdict(list)
        for event in events:
            self.of[event.originator_id.removeprefix("ticket/")].append(event)

    def opened(self) -> Iterator[tuple[str, e.TicketOpened]]:
        """How each was opened."""
        for ticket, events in self.of.items():
            first = events[0].event
            assert isinstance(first, e.TicketOpened)
            yield ticket, first

    def state(self, ticket: str) -> TicketState:
        """What it has come to."""
        state = K.ABSENT
        for event in self.of[ticket]:
            if type(event.event) in TICKET.events:
                state = TICKET.successor(state, type(event.event))
        return state

    def end(self, ticket: str) -> Recorded:
        """What ended it, the last time."""
        return next(
            event
            for event in reversed(self.of[ticket])
            if type(event.event) in TICKET.events
            and TICKET.successor(K.RUNNING, type(event.event)) in TICKET_ENDED
        )

    def found(self, ticket: str, kind: type[E]) -> list[E]:
        """Its events of a kind."""
        return [event.event for event in self.of[ticket] if isinstance(event.event, kind)]


def check_rules(histories: Histories, lives: Lives) -> None:
    """What follows from other tickets, and from time, has followed."""
    _every_one_has_ended(histories)
    _the_newest_stays(histories, lives)
    _who_waits_has_heard(histories)
    _time_has_told(histories, lives)
    _no_rule_asked_in_vain(histories)


def _every_one_has_ended(histories: Histories) -> None:
    for ticket in histories.of:
        assert histories.state(ticket) in TICKET_ENDED, f"{ticket} has not ended"


def _the_newest_stays(histories: Histories, lives: Lives) -> None:
    places = {
        ticket: (opened.supersedes.key, opened.supersedes.order, ticket)
        for ticket, opened in histories.opened()
        if opened.supersedes is not None
    }
    newest: dict[str, tuple[str, int, str]] = {}
    for place in places.values():
        newest[place[0]] = max(newest.get(place[0], place), place)
    for ticket in histories.of:
        for event in histories.found(ticket, e.TicketSuperseded):
            by = places[event.by]
            assert by[0] == places[ticket][0], f"{ticket} gave way to one of another key"
            assert by > places[ticket], f"{ticket} gave way to an older one"
    for key, place in newest.items():
        assert histories.state(place[2]) is not K.SUPERSEDED, f"the newest of {key} is superseded"
    for ticket in lives.superseded:
        assert histories.state(ticket) is K.SUPERSEDED, f"{ticket} did not give way"


def _who_waits_has_heard(histories: Histories) -> None:
    for ticket, opened in histories.opened():
        heard = [event.ticket for event in histories.found(ticket, e.AwaitedPassed)]
        assert len(heard) == len(set(heard)), f"{ticket} heard twice"
        for awaited in heard:
            assert histories.state(awaited) is K.PASSED, f"{awaited} has not passed"
        known = [other for other in opened.waits_for if other in histories.of]
        bad = [other for other in known if histories.state(other) is not K.PASSED]
        if bad:
            end = histories.end(ticket)
            assert histories.state(ticket) is K.CANCELLED, f"{ticket} goes on without {bad}"
            assert isinstance(end.event, e.TicketCancelled)
            assert any(f"ticket {other}, for which" in end.event.reason for other in bad)
        else:
            assert sorted(known) == sorted(heard), f"{ticket} has not heard of all"


def _time_has_told(histories: Histories, lives: Lives) -> None:
    for ticket, opened in histories.opened():
        end = histories.end(ticket)
        if ticket in lives.expired:
            assert isinstance(end.event, e.TicketExpired), f"{ticket} ended as {end.event}"
            assert end.time >= opened.deadline, f"{ticket} ended before its deadline"
        else:
            assert not isinstance(end.event, e.TicketExpired), f"{ticket} ended before its time"
        if ticket in lives.expired | lives.out_of_time:
            assert end.actor == REAPER, f"{ticket} was ended by {end.actor}"


def _no_rule_asked_in_vain(histories: Histories) -> None:
    """A rule's command is the same however often it is sent, so it ends or tells once."""
    for ticket, events in histories.of.items():
        caused: dict[object, int] = defaultdict(int)
        for event in events:
            if isinstance(event.event, e.TicketSuperseded | e.TicketExpired | e.AwaitedPassed):
                caused[event.event] += 1
        assert set(caused.values()) <= {1}, f"{ticket}: {caused}"
