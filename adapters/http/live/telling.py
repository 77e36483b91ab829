"""From the archive to messages: each page of events costs three queries, however many they are.

The project and the number of an attempt are in the views, which have come at least as far.
"""

from collections.abc import Sequence

from adapters.http.live.change import Told, message
from adapters.http.live.cursor import Vector
from adapters.postgres.archive import Archive
from adapters.postgres.views.telling import Known, Telling
from domain.envelope import Recorded
from projections.history import History

KIND = "ticket/"


class Teller:
    """Makes messages of pages of the archive."""

    def __init__(self, archive: Archive, telling: Telling) -> None:
        self._archive = archive
        self._telling = telling

    async def read(
        self, partition: int, after: int, upto: int, limit: int
    ) -> tuple[Sequence[Recorded], Known]:
        """The next events behind sequence *after*, with what the views know of them.

        None is behind *upto*, and at most *limit* come. Raises Unavailable, Gap and CodecError.
        """
        events = await self._archive.page(partition, after, min(limit, upto - after))
        of_tickets = [event for event in events if event.originator_id.startswith(KIND)]
        return events, await self._telling.known(of_tickets)


def told(partition: int, events: Sequence[Recorded], known: Known, vector: Vector) -> Told:
    """The events as messages; the vector moves behind them."""
    messages = []
    for recorded in events:
        vector.move(partition, recorded.sequence)
        if recorded.originator_id.startswith(KIND):
            ticket = recorded.originator_id.removeprefix(KIND)
            history = History()
            if attempt := known.attempt(recorded):
                history.remember(
                    attempt.task, attempt.token, attempt.number, attempt.worker, attempt.created
                )
            row = history.tell(recorded)
            project = known.projects.get(ticket, "")
            messages.append(message(partition, recorded, row, project, str(vector)))
    whole = b"".join([one.data for one in messages])
    return Told(partition, messages, events[-1].sequence, str(vector), whole)
