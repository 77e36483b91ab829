"""`?after=<partition>:<sequence>`: an answer that waits until the views have come so far.

Whoever has changed something knows where the change is in the log, and reads it with certainty.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from adapters.http.endpoint import Endpoint
from adapters.http.problems import Refusal
from adapters.postgres.views.positions import Positions
from domain.errors import Invalid

PATIENCE = 10.0
"""Seconds for which the views are waited for."""

HIGHEST: Final = 2**63 - 1

After = Annotated[
    str,
    Meta(
        pattern=r"\A[0-9]{1,4}:[0-9]{1,19}\Z",
        description="`<partition>:<sequence>`: answer when the views have come so far",
        examples=["3:4711"],
    ),
]


def awaiting(endpoints: Iterable[Endpoint], positions: Positions) -> tuple[Endpoint, ...]:
    """The endpoints, each of which takes `after` as well."""
    return tuple(_awaiting(one, positions) for one in endpoints)


def _awaiting(endpoint: Endpoint, positions: Positions) -> Endpoint:
    asked = endpoint.query
    query = msgspec.defstruct(
        f"{endpoint.operation}_after",  # two of a name would be one in the description
        [("after", After | None, None)],
        bases=(asked or Struct,),
        frozen=True,
        forbid_unknown_fields=True,
        kw_only=True,
    )
    return msgspec.structs.replace(
        endpoint,
        query=query,
        answer=_waiting(endpoint.answer, asked is not None, positions),
        problems=(*endpoint.problems, 504),
    )


def _waiting(
    answer: Callable[..., Awaitable[Any]], has_query: bool, positions: Positions
) -> Callable[..., Awaitable[Any]]:
    @wraps(answer)
    async def wait(query: Any, **given: Any) -> Any:
        if query.after is not None:
            await reached(query.after, positions)
        return await answer(**given, **({"query": query} if has_query else {}))

    return wait


async def reached(after: str, positions: Positions) -> None:
    """Wait until the views have come to `<partition>:<sequence>`. Raises Invalid, Refusal."""
    partition, sequence = map(int, after.split(":"))
    if partition >= len(positions.seen):
        there = f"there are partitions 0 to {len(positions.seen) - 1}"
        raise Invalid(field="after", reason=there)
    if sequence > HIGHEST:
        raise Invalid(field="after", reason="no sequence is as high")
    try:
        async with asyncio.timeout(PATIENCE):
            await positions.reached(partition, sequence)
    except TimeoutError:
        raise Refusal(
            504,
            "view-behind",
            f"The views have not come to {after} within {PATIENCE:g} s; they are at "
            f"{partition}:{positions.seen[partition]}.",
            "after",
        ) from None
