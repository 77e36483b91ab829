"""Engines that share the partitions: a consumer group on the commands, which nobody consumes in it.

The group says who may take a partition; that there is one owner, the transactional id says. So an
engine goes on with what it has while the group is shared out anew, and gives up what it has lost.
Whoever was fenced takes the partition again only when the group gives it anew: else two owners
would fence each other for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import InconsistentGroupProtocolError, InvalidSessionTimeoutError
from aiokafka.structs import OffsetAndMetadata

from adapters.codec import Codec
from adapters.kafka.connection import FAILURES, REQUEST, Address, ended, started, translated
from adapters.kafka.owner import KafkaOwner, Replier, producer
from adapters.kafka.plain import Plain
from adapters.kafka.settling import settled
from adapters.log import ClockAhead, Fenced, Genesis, Unavailable, WrongLog

CLOCK_AHEAD: Final = timedelta(seconds=2)
"""By which no clock may be ahead of the broker's."""

HEARTBEAT: Final = 0.5
"""Seconds between two heartbeats, at most; with one of them an engine hears of a new sharing."""

log = structlog.get_logger()


class KafkaMembership(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    """One engine of the log, as long as it looks at what it is granted."""

    def __init__(
        self,
        address: Address,
        codec: Codec,
        genesis: Sequence[Genesis],
        plain: Plain,
        admin: Any,
        name: str,
        lease: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._address = address
        self._codec = codec
        self._genesis = genesis
        self._plain = plain
        self._admin = admin
        self._name = name
        self._lease = lease
        self._clock = clock
        self._consumer: Any = None
        self._asking: asyncio.Future[Any] | None = None
        self._generation = 0
        self._is_current = False
        self._assigned: frozenset[int] = frozenset()
        self._fenced: dict[int, float] = {}
        self._changed = asyncio.Event()

    async def granted(self) -> frozenset[int]:
        """What the group assigns, less what was fenced since; at a change, or a fifth of a lease.

        Raises WrongLog if the brokers do not take the lease.
        """
        try:
            await self._look()
        except InvalidSessionTimeoutError as error:
            raise WrongLog(
                f"the brokers take no lease of {self._lease:g} s: it must lie between their "
                "group.min.session.timeout.ms (6 s unless configured) and group.max.session…"
            ) from error
        except InconsistentGroupProtocolError:
            log.error("stranger_in_group", member=self._name, group=self._address.group)
            await self.leave()
            await asyncio.sleep(self._lease / 5)
        except (Unavailable, *FAILURES) as error:
            log.warning("ownership_unknown", member=self._name, error=str(error))
            await self.leave()
            await asyncio.sleep(self._lease / 5)
        return self._assigned - set(self._fenced)

    async def _look(self) -> None:
        fenced = min(self._fenced.values(), default=None)
        if self._is_current and fenced is not None and fenced < monotonic() - self._lease / 2:
            await self._quit()  # the group knows nothing of the other owner: let it share anew
        if self._consumer is None:
            await self._enter()
        if self._asking is None:
            # Whoever does not ask for so long is given up by aiokafka (max_poll_interval_ms).
            self._asking = asyncio.ensure_future(self._consumer.getmany(timeout_ms=0))
        # It is answered when the group is shared out. Never cancelled: aiokafka would take it for
        # asked for ever. aiokafka itself may cancel it, when a broker is away.
        pause = asyncio.get_running_loop().time() + self._lease / 5
        answered, _ = await asyncio.wait({self._asking}, timeout=self._lease / 5)
        if answered:
            asking, self._asking = self._asking, None
            if asking.cancelled():
                raise Unavailable("Kafka: aiokafka has cancelled its own request")
            asking.result()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(pause):
                    await self._changed.wait()
        self._changed.clear()

    async def _enter(self) -> None:
        lease = int(self._lease * 1e3)
        consumer = await started(
            self._address.consumer(
                client_id=self._name,
                group_id=self._address.group,
                partition_assignment_strategy=(_sticky(),),
                session_timeout_ms=lease,
                max_poll_interval_ms=lease,
                rebalance_timeout_ms=lease,
                heartbeat_interval_ms=int(min(HEARTBEAT, self._lease / 5) * 1e3),
                max_partition_fetch_bytes=1,
            )
        )
        consumer.subscribe([self._address.topic("commands")], listener=self)
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """The group is shared out anew; who has what is known when that is done."""

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """So the group is shared now. The consumer is to fetch nothing."""
        if self._consumer is None:
            return
        self._consumer.pause(*assigned)
        self._generation += 1
        self._is_current = True
        self._assigned = frozenset(one.partition for one in assigned)
        self._fenced.clear()
        self._changed.set()

    async def take(self, partition: int) -> KafkaOwner:
        """Fence the owner before, and own the partition.

        First the fence, and the end of whatever the owner before was about; only then is
        anything read that it could have written.
        """
        generation = self._generation
        if not self._is_current or partition not in self._assigned - set(self._fenced):
            raise Fenced(f"partition {partition} is not granted")
        await self._check_clock()
        own = await started(producer(self._address, partition))
        reader = None
        try:
            reader = await started(self._address.consumer())
            events = TopicPartition(self._address.topic("events"), partition)
            commands = TopicPartition(self._address.topic("commands"), partition)
            await settled(own, reader, [events], (self._address.group, commands))
            committed = await self._committed(commands)
        except BaseException:
            await ended(own)
            if reader is not None:
                await ended(reader)
            raise

        def fenced() -> None:
            if generation == self._generation:  # else the group has given it anew since
                self._fenced[partition] = monotonic()

        return KafkaOwner(
            self._address,
            self._codec,
            own,
            reader,
            Replier(self._address, self._plain, len(self._genesis)),
            self._genesis[partition],
            partition,
            committed,
            fenced,
        )

    async def _check_clock(self) -> None:
        """Compare this machine's clock with the broker's, which stamps what comes in."""
        before = self._clock()
        plain = self._plain.current
        try:
            with translated():
                sent = await plain.send_and_wait(
                    self._address.topic("replies"), b"[]", b"clock", partition=0
                )
        except Unavailable:
            self._plain.failed(plain)
            raise
        ahead = before - datetime.fromtimestamp(sent.timestamp / 1e3, UTC)
        if ahead > CLOCK_AHEAD:
            raise ClockAhead(
                f"this machine's clock is {ahead.total_seconds():.1f} s ahead of Kafka's"
            )

    async def _committed(self, commands: TopicPartition) -> OffsetAndMetadata:
        """The group's offset; behind the fence no owner can change it any more."""
        with translated():
            async with asyncio.timeout(REQUEST):
                while True:
                    found = await self._admin.list_consumer_group_offsets(
                        self._address.group, partitions=[commands]
                    )
                    if commands in found:
                        return found[commands]
                    await asyncio.sleep(0.05)  # the group's coordinator has just begun

    async def leave(self) -> None:
        """Be no member any more, so that the others need not wait for the lease to end."""
        self._assigned = frozenset()
        await self._quit()

    async def _quit(self) -> None:
        self._is_current = False
        consumer, self._consumer = self._consumer, None
        asking, self._asking = self._asking, None
        if consumer is not None:
            await ended(consumer)
        if asking is not None:
            asking.cancel()
            await asyncio.wait({asking})
            if not asking.cancelled():
                asking.exception()


def _sticky() -> type[StickyPartitionAssignor]:
    """Have the group move no more than it must.

    aiokafka keeps in the assignor's class what a member has: so each member needs its own, or those
    of one process all claim the same.
    """
    return type("Sticky", (StickyPartitionAssignor,), {})


@asynccontextmanager
async def joined(membership: KafkaMembership) -> AsyncIterator[KafkaMembership]:
    """Leave at the end."""
    try:
        yield membership
    finally:
        await membership.leave()
