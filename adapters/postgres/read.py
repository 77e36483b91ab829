"""Events from rows, and the check that none is missing."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import asyncpg

from adapters.codec import Codec
from adapters.log import Gap
from adapters.postgres.connection import translated
from adapters.postgres.statements import load
from domain.envelope import Recorded, Stored

if TYPE_CHECKING:
    from adapters.postgres.connection import AnyConnection

SQL = load("log")
PAGE = 2_000
"""Events that are read at once; folding them must not keep the event loop for long."""

PAGE_BYTES = 16 * 1024 * 1024
"""Bytes of data after which no more is read at once."""


def recorded(row: asyncpg.Record, codec: Codec) -> Recorded:
    """The event of a row of the statement `read`."""
    sequence, stream, version, topic, form, id_, cause, time, actor, upto, trace, state = row
    return Recorded(
        id=id_,
        originator_id=stream,
        originator_version=version,
        event=codec.decode_event(topic, form or 1, state),
        time=time,
        actor=actor,
        causationid=cause,
        sequence=sequence,
        upto=upto,
        traceparent=trace,
    )


def with_data(row: asyncpg.Record, codec: Codec) -> Stored:
    """The same, with its data as it is in the row."""
    sequence, stream, version, topic, form, id_, cause, time, actor, upto, trace, state = row
    return Stored(
        id=id_,
        originator_id=stream,
        originator_version=version,
        event=codec.decode_event(topic, form or 1, state),
        time=time,
        actor=actor,
        causationid=cause,
        sequence=sequence,
        upto=upto,
        traceparent=trace,
        form=form or 1,
        data=state,
    )


async def read(
    connection: "AnyConnection",
    codec: Codec,
    partition: int,
    after: int,
    limit: int,
    form: Callable[[asyncpg.Record, Codec], Recorded] = recorded,
    *,
    size: int = PAGE_BYTES,
) -> Sequence[Recorded]:
    """The committed events behind sequence *after*. Raises Gap, FutureEvent, CodecError."""
    with translated():
        rows = await connection.fetch(SQL["read"], partition, after, limit, size)
    for sequence, row in enumerate(rows, start=after + 1):
        if row[0] != sequence:
            raise Gap(f"partition {partition} has {row[0]} where {sequence} should be")
    return [form(row, codec) for row in rows]
