"""The archive in PostgreSQL, for a log that is elsewhere: every event, by its stream."""

from collections.abc import Sequence

from adapters.codec import Codec
from adapters.log import Genesis
from adapters.postgres.connection import Address, translated
from adapters.postgres.views.view import Place, PlacedFold, PostgresView, prepare
from domain.envelope import Recorded, Stored

COLUMNS = (
    *("partition", "sequence", "originator_id", "originator_version", "topic", "schemaversion"),
    *("id", "causationid", "time", "actor", "upto", "traceparent", "state"),
)


async def open_history(
    address: Address, genesis: Sequence[Genesis], codec: Codec, *, lease: float = 6.0
) -> PostgresView:
    """The archive at an address, made if it is not there.

    Raises WrongLog if it is of another log than the one with this *genesis*, and Unavailable.
    """
    await prepare(address, "history", genesis)
    return PostgresView(
        "history", address, lambda place: HistoryFold(place, codec), lease, is_durable=True
    )


class HistoryFold(PlacedFold):
    """One partition of the archive."""

    def __init__(self, place: Place, codec: Codec) -> None:
        super().__init__(place)
        self._encode = codec.encode_event

    async def fold(self, events: Sequence[Recorded]) -> None:
        """Archive the next events; they and the position become true in one transaction."""
        with translated():
            async with self._place.advanced(events[-1]) as connection:
                await connection.copy_records_to_table(
                    "events", records=map(self._row, events), columns=COLUMNS
                )

    def _row(self, recorded: Recorded) -> tuple[object, ...]:
        if isinstance(recorded, Stored):
            form, data = recorded.form, recorded.data
        else:
            form, data = recorded.event.class_version, self._encode(recorded.event)
        return (
            self.partition,
            recorded.sequence,
            recorded.originator_id,
            recorded.originator_version,
            recorded.event.topic,
            form,
            recorded.id,
            recorded.causationid,
            recorded.time,
            recorded.actor,
            recorded.upto,
            recorded.traceparent,
            data,
        )
