"""What only the log in PostgreSQL has to get right, beside its contract."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from adapters.log import Decided, Fenced, Reply, Unavailable
from adapters.postgres.connection import Address, Bell, connect
from adapters.postgres.log import open_log
from adapters.postgres.owner import SQL, PostgresOwner
from adapters.postgres.read import PAGE_BYTES
from domain.envelope import Answer, Refusal, Submitted
from tests.contract.counter import CODEC, Count, asked, batch
from tests.contract.places import LEASE, PostgresPlace, taken

pytestmark = pytest.mark.service

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _arguments(command: Submitted, channel: str) -> tuple[object, ...]:
    return (
        0,
        1,
        [command.id],
        [command.stream],
        [command.command.topic],
        [1],
        [command.actor],
        [None],
        [None],
        [None],
        [CODEC.encode_command(command.command)],
        channel,
    )


async def test_a_sender_that_commits_late_is_not_skipped(address: Address) -> None:
    """The first sender is paused before its commit, the second commits, the owner receives."""
    early, late = asked(Count(1)), asked(Count(2))
    async with open_log(address, CODEC, partitions=1, lease=LEASE) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await owner.resume(0)
        paused = await connect(address)
        transaction = paused.transaction()
        await transaction.start()
        await paused.execute(SQL["send"], *_arguments(early, address.channel("commands")))
        second = asyncio.create_task(log.send([late]))
        received = list(await owner.receive(9, 0.3))
        await transaction.commit()
        await second
        received += await owner.receive(9, 1)
        if len(received) < 2:
            received += await owner.receive(9, 1)
        assert {early.id, late.id} == {one.submitted.id for one in received if one.submitted}
        await owner.release()
        await paused.close()


async def test_readers_and_owners_need_no_notifications(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bell, "_ring", lambda *_: None)  # a server that wakes nobody
    async with open_log(address, CODEC, partitions=1, lease=LEASE) as log, log.join("a") as member:
        owner = await taken(member, 0)
        await owner.resume(0)
        pages = log.follow(0)
        reading = asyncio.ensure_future(anext(pages))
        receiving = asyncio.create_task(owner.receive(9, 10))
        await asyncio.sleep(0.1)
        await log.send([asked(Count())])
        assert 1 == len(await asyncio.wait_for(receiving, 5))
        await owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
        assert 1 == len(await asyncio.wait_for(reading, 5))
        await owner.release()


async def test_an_owner_that_loses_its_connection_does_not_know_what_was_written(
    address: Address,
) -> None:
    place = PostgresPlace(address)
    async with place.open(1) as log, log.join("a") as member, place.connected() as admin:
        owner = await taken(member, 0)
        await owner.resume(0)
        async with place.stalled_inside_commit(0, 1):
            commit = asyncio.create_task(
                owner.commit(batch(asked(Count()), NOW, version=1, sequence=1, upto=1))
            )
            while not await admin.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND query LIKE '%INTO events%'"
            ):
                await asyncio.sleep(0.01)
            with pytest.raises(Unavailable):
                await commit
        await owner.release()
        assert 0 == await log.end(0)


async def test_notifications_of_many_answers_stay_below_the_servers_limit(
    address: Address,
) -> None:
    place = PostgresPlace(address)
    async with place.open(1) as log, log.join("a") as member, log.replies() as replies:
        owner = await taken(member, 0)
        await owner.resume(0)
        answers = [
            Answer(uuid4(), 0, refusal=Refusal("invalid", f"{n}: " + "é" * (n % 1000)))
            for n in range(2_000)
        ]
        await owner.commit(Decided(upto=1, replies=[Reply(replies.address, a) for a in answers]))
        got: list[Answer] = []
        async with asyncio.timeout(10):
            while len(got) < len(answers):
                got += await replies.receive()
        assert sorted(answers, key=lambda a: a.command_id) == sorted(
            got, key=lambda a: a.command_id
        )
        await owner.release()


async def test_a_partition_that_is_owned_cannot_be_taken(address: Address) -> None:
    place = PostgresPlace(address)
    async with place.open(1) as log, log.join("a") as member, log.join("b") as other:
        owner = await taken(member, 0)
        with pytest.raises(Fenced):
            await other.take(0)
        await owner.release()


async def test_commands_that_were_decided_long_ago_are_forgotten_and_no_others(
    address: Address,
) -> None:
    place = PostgresPlace(address)
    async with place.open(1) as log, log.join("a") as member, place.connected() as admin:
        await log.send([asked(Count()) for _ in range(4)])
        await admin.execute("UPDATE commands SET at = at - interval '15 days' WHERE position <> 2")
        owner = await taken(member, 0)
        assert isinstance(owner, PostgresOwner)
        owner.forget_every = 0
        await owner.resume(0)
        await owner.receive(3, 1)
        await owner.commit(Decided(upto=3))
        assert [4] == [one.position for one in await owner.receive(9, 1)]
        kept = await admin.fetch("SELECT position FROM commands ORDER BY position")
        assert [2, 4] == [row["position"] for row in kept]
        await owner.release()


async def test_large_commands_and_events_are_taken_in_parts(address: Address) -> None:
    """However many wait, only so many bytes of them are held in memory at once."""
    size = 400 * 1024
    async with open_log(address, CODEC, partitions=1, lease=LEASE) as log, log.join("a") as member:
        for _ in range(10):
            await log.send([asked(Count(padding="x" * size)) for _ in range(6)])
        owner = await taken(member, 0)
        await owner.resume(0)
        parts = []
        while part := await owner.receive(1_000, 0):
            parts.append(len(part))
        assert 60 == sum(parts)
        assert max(parts) * size <= PAGE_BYTES + size
        await owner.release()
