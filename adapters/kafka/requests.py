"""Request topics: what foreign producers ask for, read by any number of processes in one group.

A record's offset is committed only after what came of it is durable; so it may come again, here or
in another process, and never gets lost. The command's id follows from the request (`command_id`),
so the engine makes it once.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import InvalidSessionTimeoutError

from adapters.kafka.connection import (
    FAILURES,
    REQUEST,
    Address,
    ended,
    meaning,
    running,
    started,
    translated,
)
from adapters.kafka.kept import Unreadable
from adapters.kafka.membership import HEARTBEAT
from adapters.kafka.request_records import Request, dead
from adapters.kafka.request_topics import prepare
from adapters.log import LogError, WrongLog
from adapters.requests import Desk
from domain.errors import Invalid

log = structlog.get_logger()


@asynccontextmanager
async def open_requests(
    address: Address,
    desk: Desk,
    *,
    name: str,
    partitions: int,
    replication: int | None = None,
    lease: float = 6.0,
) -> AsyncIterator["KafkaRequests"]:
    """The request topics of the desk, which are made if they are not there.

    *partitions* are the log's, and those of new topics. A process that is not heard of for
    *lease* seconds loses its share. Raises WrongLog and Unavailable.
    """
    await prepare(address, desk.topics, partitions, replication)
    async with running(address.producer()) as producer:
        requests = KafkaRequests(address, desk, producer, name, partitions, lease)
        try:
            yield requests
        finally:
            await requests.leave()


class KafkaRequests:
    """One process's share of the requests."""

    def __init__(
        self, address: Address, desk: Desk, producer: Any, name: str, partitions: int, lease: float
    ) -> None:
        self._address = address
        self._desk = desk
        self._producer = producer
        self._name = name
        self._partitions = partitions
        self._lease = lease
        self._consumer: Any = None
        self._careful = False

    async def next(self, limit: int, timeout: float) -> Sequence[Request]:
        """The next requests, in order for each partition; none if none came within *timeout* s.

        After an error the share is given back, and taken anew by the next call. What was not
        `done` comes again.

        Raises:
            Unavailable: the cluster is away.
            WrongLog: the brokers do not take the lease.
        """
        try:
            with translated():
                if self._consumer is None:
                    self._consumer = await self._entered()
                return await self._read(limit, timeout)
        except LogError as error:
            await self.leave()
            if isinstance(error.__cause__, InvalidSessionTimeoutError):
                raise WrongLog(f"the brokers take no lease of {self._lease:g} s") from error
            raise

    async def _entered(self) -> Any:
        lease = int(self._lease * 1e3)
        consumer = await started(
            self._address.consumer(
                client_id=self._name,
                group_id=f"{self._address.topics}.intake",
                session_timeout_ms=lease,
                rebalance_timeout_ms=lease,
                heartbeat_interval_ms=int(min(HEARTBEAT, self._lease / 5) * 1e3),
            )
        )
        consumer.subscribe(list(self._desk.topics))
        return consumer

    async def _read(self, limit: int, timeout: float) -> list[Request]:
        if self._careful:
            return await self._read_carefully(limit, timeout)
        try:
            pages = await self._fetched(timeout, max_records=limit)
        except FAILURES:
            raise
        except Exception as error:
            # aiokafka cannot read a record, and has lost those that it had read before it.
            log.error("request_unreadable", error=repr(error))
            self._careful = True
            await self.leave()
            return []
        return [self._request(record) for page in pages.values() for record in page]

    async def _read_carefully(self, limit: int, timeout: float) -> list[Request]:
        """Record by record, which takes longer, so that the one that cannot be read is known.

        Those behind it in a batch of its producer's cannot be read either.
        """
        found: list[Request] = []
        mine = self._consumer.assignment()
        if not mine:  # the group is being shared out
            await asyncio.sleep(timeout)
        for partition in mine:
            while len(found) < limit:
                wait = 0 if found else timeout / len(mine)
                try:
                    page = await self._fetched(wait, partition, max_records=1)
                except FAILURES:
                    raise
                except Exception as error:
                    offset = await self._consumer.position(partition)
                    self._consumer.seek(partition, offset + 1)
                    unreadable = Unreadable(partition.topic, partition.partition, offset)
                    found.append(Request(unreadable, None, f"value: it is unreadable, {error!r}"))
                    self._careful = False
                    break
                if not page:
                    break
                found += map(self._request, page[partition])
        return found

    async def _fetched(
        self, timeout: float, *partitions: TopicPartition, max_records: int
    ) -> dict[TopicPartition, Sequence[Any]]:
        """What came; nothing also while the group is being shared out anew."""
        try:
            async with asyncio.timeout(timeout + 1):
                pages: dict[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                    *partitions, timeout_ms=int(timeout * 1e3), max_records=max_records
                )
                return pages
        except TimeoutError:
            return {}

    def _request(self, record: Any) -> Request:
        try:
            return Request(record, self._desk.take(record.topic, record.headers, record.value))
        except Invalid as refused:
            return Request(record, None, str(refused))
        except Exception as error:  # a mistake of ours in one must not stop the others
            log.exception("request_unexpected", offset=record.offset, topic=record.topic)
            return Request(record, None, f"value: it made us fail, {error!r}")

    async def put_aside(self, requests: Iterable[Request]) -> None:
        """Make dead letters of them, durably. Raises Unavailable."""
        with translated():
            sent = [
                await self._producer.send(
                    self._address.topic("dead"),
                    **dead(request),
                    partition=request.raw.partition % self._partitions,
                )
                for request in requests
            ]
            await asyncio.gather(*sent)

    async def done(self, requests: Iterable[Request]) -> None:
        """What came of them is durable: none need come again.

        One whose partition has gone to another process meanwhile comes again there.
        """
        offsets: dict[TopicPartition, int] = {}
        for request in requests:
            partition = TopicPartition(request.raw.topic, request.raw.partition)
            offsets[partition] = max(offsets.get(partition, 0), request.raw.offset + 1)
        if self._consumer is None:
            return
        mine = self._consumer.assignment()
        try:
            async with asyncio.timeout(REQUEST):
                await self._consumer.commit(
                    {one: offset for one, offset in offsets.items() if one in mine}
                )
        except FAILURES as error:
            log.warning("offsets_not_committed", error=str(meaning([error])))

    async def leave(self) -> None:
        """Give the share back, so that others need not wait for the lease to end."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await ended(consumer)
