"""A database of real tickets: histories at random, workers, tokens, dead letters."""

import asyncio
from datetime import UTC, datetime
from random import Random
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from adapters.asking import Asker, asking
from adapters.config import read
from adapters.postgres.connection import Address, connect
from domain.event import Command
from tests.journey.running import Site
from tests.unit.given import Given
from tests.unit.walks import read as meant
from tests.unit.walks import take, walk_at_random
from workers.compose import assemble

PUT_ASIDE = """
INSERT INTO dead_letters (partition, position, at, id, stream, topic, schema, actor, data, reason)
VALUES ($1, $2, now(), $3, 'ticket/dead', 'turnstile.ticket.seal', 1, 'a test', $4, 'it was bad')
"""


class Furnished(Struct, frozen=True):
    """What is there to be found: ids, and places up to which the views have come."""

    tickets: list[str]
    letters: list[str]
    tokens: list[str]
    workers: list[str]
    states: set[str]


def furnish(site: Site, tickets: int, seed: int = 7) -> Furnished:
    """Have so many tickets that have been walked at random, and whatever else can be asked for."""
    names = [f"t{n}" for n in range(tickets)]
    asyncio.run(_walk(site, names, Random(seed)))
    letters = asyncio.run(_put_aside(site)) if "TURNSTILE_KAFKA" not in site.given else []
    tokens = []
    for n in range(4):
        body = {"name": f"worker {n}", "scopes": ["read"], "days": n + 1}
        tokens.append(site.owner.post("/v1/tokens", json=body).json()["id"])
    site.owner.delete(f"/v1/tokens/{tokens[0]}").raise_for_status()
    workers = [f"w{n}" for n in range(4)]
    for worker in workers:
        body = {"session": "s1", "home": "rack-2", "capabilities": {"arch": ["arm64"]}}
        site.owner.put(f"/v1/workers/{worker}", json=body).raise_for_status()
    states = {site.seen(name, 1)["state"] for name in names}
    return Furnished(names, letters, tokens, workers, states)


async def _walk(site: Site, names: list[str], random: Random) -> None:
    config = read({key: str(value) for key, value in site.given.items()})
    async with assemble(config) as service, asking(service.log) as asker:
        await asyncio.gather(*(_take_a_walk(asker, name, random) for name in names))


async def _take_a_walk(asker: Asker, name: str, random: Random) -> None:
    """What a walk means for a ticket here is sent there too; the clock goes its own way."""
    walk = walk_at_random(random.randint)
    opening = replace(walk.opening, not_before=None)
    here = Given(stream=f"ticket/{name}")
    here.now = datetime.now(UTC)
    commands: list[Command] = [opening]
    for move in walk.moves:
        for command in commands:
            submitted = replace(here.submit(command), id=uuid4())
            take(here, submitted)
            await asker.ask(submitted)
        found = meant(move, here.ticket, opening)
        commands = [] if found is None else [found]


async def _put_aside(site: Site) -> list[str]:
    at = Address(str(site.given["DATABASE_URL"]), str(site.given["TURNSTILE_SCHEMA"]))
    connection = await connect(at)
    try:
        for n, data in enumerate((b"{}", b"\xff\x00", b"[", b"x" * 100_000, b"{}", b"{}"), start=1):
            await connection.execute(PUT_ASIDE, 0, n, uuid4(), data)
    finally:
        await connection.close()
    return [f"0-{n}" for n in range(1, 7)]
