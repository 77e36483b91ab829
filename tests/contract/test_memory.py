"""What an engine's memory and its takeovers promise on every log."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import structlog.testing
from msgspec import Struct
from structlog.typing import EventDict

from adapters.asking import Asker, asking
from adapters.codec import Codec
from adapters.log import Log
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, close, connect, open_pool
from adapters.postgres.snapshots import open_snapshots
from adapters.postgres.views.history import open_history
from adapters.postgres.views.view import address_of
from domain.envelope import Answer, Submitted
from domain.event import Command
from domain.kinds import DECIDERS
from domain.ticket import commands as c
from domain.worker import commands as w
from tests.contract.places import Place
from tests.contract.recording import all_of
from tests.unit.given import opening
from workers import archived, snapshot_form
from workers.engine import Engine, Pace
from workers.memory import Memory
from workers.partition import Partition
from workers.projector import Projector

pytestmark = pytest.mark.service

CODEC = Codec(DECIDERS)
EVERY = 40


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archived, "LOOK", 0.02)
    monkeypatch.setattr(snapshot_form, "STREAMS", 5)


@pytest.fixture(autouse=True)
def said() -> Iterator[list[EventDict]]:
    """What engines say."""
    with structlog.testing.capture_logs() as lines:
        yield lines


class Site(Struct):
    """A log with one partition, its archive in a view, and snapshots."""

    log: Log
    asker: Asker
    place: Place
    address: Address
    memory: Memory
    said: list[EventDict]

    @asynccontextmanager
    async def engine(self, name: str = "a", every: int = EVERY) -> AsyncIterator[Engine]:
        """One that has taken the partition over."""
        memory = Memory(self.memory.archive, self.memory.snapshots, every)
        pace = Pace(idle=0.05)
        engine = Engine(name, self.log, DECIDERS, CODEC, memory=memory, pace=pace)
        before = len(self.lines("taken_over"))
        task = asyncio.create_task(engine.run())
        try:
            await self.until(lambda: len(self.lines("taken_over")) > before)
            yield engine
        finally:
            engine.stop()
            await task

    @asynccontextmanager
    async def archiving(self) -> AsyncIterator[None]:
        """Somebody folds the archive."""
        at = address_of(self.address, "history")
        genesis = [await self.log.genesis(0)]
        projector = Projector("p", self.log, [await open_history(at, genesis, CODEC, lease=0.6)])
        task = asyncio.create_task(projector.run())
        try:
            yield
        finally:
            projector.stop()
            await task

    async def ask(self, ticket: str, command: Any) -> Answer:
        """The answer to a command of a new id."""
        id_, stream = uuid4(), f"ticket/{ticket}"
        submitted = Submitted(id=id_, stream=stream, actor="a test", command=command)
        return await self.asker.ask(submitted, timeout=20)

    async def close_some(self, count: int) -> None:
        """Open tickets and cancel them: four events each."""
        for n in range(count):
            await self.ask(f"closed-{n}", opening("A", "B"))
            assert (await self.ask(f"closed-{n}", c.Cancel())).refusal is None

    async def whole(self) -> Partition:
        """The partition as it is in the log, with all of its streams."""
        partition = Partition(0, 1, DECIDERS, CODEC)
        for event in await all_of(self.log, 0):
            partition.fold(event)
        return partition

    def lines(self, event: str) -> list[EventDict]:
        """What was said of this."""
        return [line for line in self.said if line["event"] == event]

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for it."""
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.01)

    async def execute(self, name: str, statement: str) -> None:
        """Do something to the archive or the snapshots."""
        connection = await connect(address_of(self.address, name))
        await connection.execute(statement)
        await close(connection)


@pytest_asyncio.fixture
async def site(place: Place, address: Address, said: list[EventDict]) -> AsyncIterator[Site]:
    at = address_of(address, "history")
    async with (
        place.open(1, codec=CODEC) as log,
        asking(log) as asker,
        open_pool(at, 2) as pool,
        open_snapshots(address_of(address, "snapshots")) as snapshots,
    ):
        await open_history(at, [await log.genesis(0)], CODEC)
        yield Site(log, asker, place, address, Memory(Archive(pool, CODEC), snapshots), said)


# -------------------------------------------------------------------------------------- leaving


async def test_closed_tickets_leave_memory_and_come_back_as_they_were(site: Site) -> None:
    async with site.archiving(), site.engine() as engine:
        first = Submitted(uuid4(), "ticket/9", opening("A", "B"), actor="a test")
        opened = await site.asker.ask(first)
        await site.ask("9", c.Cancel())
        await site.ask("open", opening("A"))
        partition = engine.partitions[0]
        await site.until(lambda: ["ticket/open"] == list(partition.streams))
        again = await site.asker.ask(first)
        assert (opened.version, None) == (again.version, again.refusal)
        await site.until(lambda: ["ticket/open"] == list(partition.streams))
        other = (await site.ask("9", opening("A"))).refusal
        assert other is not None
        assert "different-body" == other.type
        assert (await site.ask("9", c.Rerun())).refusal is None
        assert (await site.whole()).streams["ticket/9"] == partition.streams["ticket/9"]
        await site.until(lambda: {"ticket/open", "ticket/9"} == set(partition.streams))


async def test_a_worker_that_is_gone_leaves_memory_and_comes_back_as_it_was(site: Site) -> None:
    """Streams of all kinds are remembered alike, in snapshots too."""

    async def tell(worker: str, command: Command) -> Answer:
        return await site.asker.ask(
            Submitted(uuid4(), f"worker/{worker}", command, actor="a test"), timeout=20
        )

    registered = w.Register(session="s1", home="rack-2", slots=4)
    async with site.archiving():
        async with site.engine() as engine:
            for worker in ("there", "gone"):
                assert (await tell(worker, registered)).refusal is None
            await tell("gone", w.Leave("s1"))
            await site.close_some(EVERY // 4)
            partition = engine.partitions[0]
            await site.until(lambda: ["worker/there"] == list(partition.streams))
            await site.until(lambda: site.lines("snapshot"))
        async with site.engine("b") as engine:
            partition = engine.partitions[0]
            await site.until(lambda: ["worker/there"] == list(partition.streams))
            taken = (await tell("there", w.Register(session="s9", home="rack-3"))).refusal
            assert taken is not None
            assert "name-taken" == taken.type
            back = await tell("gone", w.Register(session="s9", home="rack-3"))
            assert (3, None) == (back.version, back.refusal)
            assert (await site.whole()).digest() == partition.digest()
    assert [] == site.lines("snapshot_ignored")


async def test_a_ticket_stays_in_memory_until_the_archive_has_it(site: Site) -> None:
    async with site.engine() as engine:
        await site.close_some(3)
        partition = engine.partitions[0]
        assert 3 == len(partition.streams)
        async with site.archiving():
            await site.until(lambda: not partition.streams)
        assert 3 == len(partition.memory.closed.hashes)


async def test_a_takeover_of_a_log_of_closed_tickets_holds_none_of_them(site: Site) -> None:
    async with site.archiving():
        async with site.engine("a", every=0):
            await site.close_some(3)
            await site.ask("open", opening("A"))
        await site.until(lambda: site.lines("released"))
        async with site.engine("b", every=0) as engine:
            partition = engine.partitions[0]
            await site.until(lambda: ["ticket/open"] == list(partition.streams))
            assert (await site.ask("closed-1", c.Rerun())).refusal is None
            assert (await site.whole()).digest() == partition.digest()


async def test_an_archive_that_has_fallen_behind_is_not_believed(site: Site) -> None:
    """It was restored from an older backup: nothing is decided until it has caught up."""
    async with site.engine() as engine:
        async with site.archiving():
            await site.close_some(2)
            await site.until(lambda: not engine.partitions[0].streams)
        await site.execute(
            "history", "DELETE FROM events; UPDATE partitions SET sequence = 0, event = NULL"
        )
        rerun = asyncio.create_task(site.ask("closed-1", c.Rerun()))
        await site.until(lambda: site.lines("archive_behind"))
        line = site.lines("archive_behind")[0]
        assert (0, engine.partitions[0].sequence) == (line["position"], line["needed"])
        end = await site.log.end(0)
        assert not rerun.done()
        assert 0 == len(engine.partitions[0].streams)
        async with site.archiving():
            assert (await rerun).refusal is None
        assert end < await site.log.end(0)
        assert (await site.whole()).digest() == engine.partitions[0].digest()


# ------------------------------------------------------------------------------------- snapshots


async def written(site: Site) -> None:
    """There is a snapshot, and some events behind it."""
    async with site.engine("writer") as engine:
        for n in range(EVERY // 2):
            await site.ask(f"open-{n}", opening("A", "B"))
        await site.close_some(3)
        await site.until(lambda: site.lines("snapshot"))
        await site.ask("behind", opening("A"))
        await site.ask("open-1", c.Cancel())
        assert (await site.whole()).digest() == engine.partitions[0].digest()


async def test_a_takeover_begins_at_the_snapshot(site: Site) -> None:
    async with site.archiving():
        await written(site)
        async with site.engine("successor", every=0) as engine:
            begun = site.lines("snapshot")[-1]["sequence"]
            assert begun == site.lines("taken_over")[-1]["snapshot"] >= EVERY
            assert (await site.whole()).digest() == engine.partitions[0].digest()
            assert (await site.ask("closed-1", c.Rerun())).refusal is None
            assert (await site.ask("open-2", c.Cancel())).refusal is None
            assert (await site.whole()).digest() == engine.partitions[0].digest()
        assert [] == site.lines("snapshot_ignored")


async def test_one_that_is_fenced_off_leaves_a_snapshot_that_its_successor_uses(
    site: Site,
) -> None:
    async with site.archiving(), site.engine() as engine:
        for n in range(EVERY):
            await site.ask(f"open-{n}", opening("A"))
        await site.until(lambda: site.lines("snapshot"))
        await site.place.fence(0)
        assert (await site.ask("open-1", c.Cancel())).refusal is None
        assert 0 < site.lines("taken_over")[-1]["snapshot"]
        assert (await site.whole()).digest() == engine.partitions[0].digest()


@pytest.mark.parametrize("place", ["postgres"], indirect=True)  # recovery is the same on any log
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE parts SET data = set_byte(data, 9, 255 - get_byte(data, 9))", "not what was"),
        ("DELETE FROM parts WHERE n = 1", "part 1 of"),
        ("UPDATE snapshots SET form = ''", "another form"),
        ("UPDATE snapshots SET log = gen_random_uuid()", "another log"),
        ("UPDATE snapshots SET until = until + 100", "another end"),
        ("UPDATE snapshots SET evicted = until + 100", "needs the archive"),
        ("UPDATE snapshots SET until = NULL", None),
        ("DELETE FROM snapshots", None),
        ("DROP TABLE parts", "parts"),
        ("DROP TABLE parts, snapshots", "snapshots"),
    ],
)
async def test_a_snapshot_that_is_not_to_be_trusted_is_ignored(
    site: Site, damage: str, reason: str | None
) -> None:
    """With one line that says why; one that is half written or deleted is none."""
    async with site.archiving():
        await written(site)
        await site.execute("snapshots", damage)
        async with site.engine("successor", every=0) as engine:
            assert 0 == site.lines("taken_over")[-1]["snapshot"]
            ignored = [line["reason"] for line in site.lines("snapshot_ignored")]
            assert [reason is not None] == [reason in one for one in ignored] or reason is None
            assert (reason is not None) == len(ignored)
            assert (await site.whole()).digest() == engine.partitions[0].digest()


@pytest.mark.parametrize("column", ["event", "until_event"])
async def test_a_snapshot_of_another_history_is_ignored(site: Site, column: str) -> None:
    """As after a restore of the log: the whole log is folded, on Kafka with another consumer."""
    async with site.archiving():
        await written(site)
        await site.execute("snapshots", f"UPDATE snapshots SET {column} = gen_random_uuid()")
        async with site.engine("successor", every=0) as engine:
            [line] = site.lines("snapshot_ignored")
            assert "another event" in line["reason"]
            assert (await site.whole()).digest() == engine.partitions[0].digest()


async def test_what_is_written_while_tickets_change_is_the_state_all_the_same(site: Site) -> None:
    async with site.archiving():
        async with site.engine("writer"):
            for n in range(EVERY):
                await site.ask(f"open-{n}", opening("A"))
            await asyncio.gather(
                *(site.ask(f"open-{n}", c.Cancel()) for n in range(0, EVERY, 2)),
                *(site.ask(f"new-{n}", opening("A", "B")) for n in range(EVERY)),
                *(site.ask(f"open-{n}", c.ChangePriority(priority=n)) for n in range(EVERY)),
            )
            await site.until(lambda: site.lines("snapshot"))
        async with site.engine("successor", every=0) as engine:
            assert 0 < site.lines("taken_over")[-1]["snapshot"]
            assert (await site.whole()).digest() == engine.partitions[0].digest()


async def test_only_the_newest_snapshot_is_kept(site: Site) -> None:
    async with site.archiving(), site.engine():
        for n in range(3 * EVERY):
            await site.ask(f"open-{n}", opening("A"))
        await site.until(lambda: len(site.lines("snapshot")) > 2)
        last = site.lines("snapshot")[-1]["sequence"]
        connection = await connect(address_of(site.address, "snapshots"))
        try:
            kept = await connection.fetch("SELECT sequence FROM snapshots WHERE until IS NOT NULL")
        finally:
            await close(connection)
        assert last <= max(row["sequence"] for row in kept)  # another may have come since
        assert 1 == len(kept)


async def test_a_snapshot_without_a_place_is_abandoned_and_stops_nobody(site: Site) -> None:
    async with site.archiving(), site.engine():
        await site.execute("snapshots", "DROP TABLE parts, snapshots")
        for n in range(EVERY):
            await site.ask(f"open-{n}", opening("A"))
        await site.until(lambda: site.lines("snapshot_abandoned"))
        assert (await site.ask("another", opening("A"))).refusal is None
