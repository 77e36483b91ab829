"""The library's writer of one partition: requests that wait are written in one transaction.

    a request ──► decided from the indexes ──► one transaction for all ──► told
                        │ refused                    │ failed
                        ▼                            ▼
                      told                  settled: was it written? ──► told, or decided again

It writes under the transactional id of the engines, so that it and they fence each other; but it
never fences an engine that is live. What it tells is so for ever.
"""

import asyncio
from collections import deque
from contextlib import suppress
from random import uniform
from typing import Any, Final

import structlog
from eventsourcing.persistence import PersistenceError

from adapters.codec import CodecError
from adapters.kafka.connection import FAILURES, Address, ended, running, started
from adapters.kafka.engines import refuse_if_owned
from adapters.kafka.index import Index, Marks, Streams
from adapters.kafka.owner import producer
from adapters.kafka.settling import settled
from adapters.kafka.transaction import Request, Transaction, decide
from adapters.library import PartitionOwned
from adapters.log import Fenced, LogError, Rejected, Unavailable

AGAIN: Final = 0.05
"""Seconds between two looks for what became of a transaction."""

YIELD: Final = 0.02
YIELD_AT_MOST: Final = 1.0
"""Seconds that another writer is left alone once it has fenced this one, at first and later."""

log = structlog.get_logger()


class Writer:
    """Writes to one partition. Its producer is made for the first request."""

    def __init__(
        self, address: Address, partition: int, streams: Streams, marks: Marks, patience: float
    ) -> None:
        self._address = address
        self._partition = partition
        self._streams = streams
        self._marks = marks
        self._patience = patience
        self._producer: Any = None
        self._current: set[Index] = set()
        """What is known to its end, and stays so as long as nobody else writes."""
        self._waiting: deque[Request] = deque()
        self._batch: list[Request] = []
        """What is under way."""
        self._working: asyncio.Task[None] | None = None
        self._fenced = 0

    async def write(self, request: Request) -> list[int]:
        """The sequences of the request's events, once they are committed.

        Raises:
            VersionTaken, AlreadyTracked: it was refused.
            PartitionOwned: a live engine is the only writer.
            Rejected: the log will not have it, however often it is tried.
            Unavailable: the cluster is away. While nobody knows what was written, this waits.

        After each of them, nothing of the request was written, nor will be.
        """
        self._waiting.append(request)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await request.sequences

    async def close(self) -> None:
        """End. Whoever waits is cancelled."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])
        for request in (*self._batch, *self._waiting):
            request.sequences.cancel()
        await self._give_up()

    async def _work(self) -> None:
        """Tell all that wait, until nobody does."""
        while self._waiting:
            try:
                await self._own()
                self._batch = decide(self._waiting, self._streams, self._marks)
                if self._batch:
                    await self._commit()
                    self._batch = []
            except Fenced:
                await self._yield()
            except (LogError, CodecError, PersistenceError) as error:
                self._refuse_all(error)
            except Exception as error:
                self._refuse_all(error)
                raise

    def _refuse_all(self, error: Exception) -> None:
        """Also what is under way: nothing is, or its outcome will not be known for ever."""
        self._waiting.extendleft(self._batch)
        self._batch = []
        self._refuse_waiting(error)

    def _refuse_waiting(self, error: Exception) -> None:
        while self._waiting:
            self._waiting.popleft().refuse(error)

    # ------------------------------------------------------------------------------- owning

    async def _own(self) -> None:
        """Be the only writer, and know all that was written.

        What can be read before the fence is read before it, so that little is left for behind it:
        whoever is fenced is not to be kept waiting.
        """
        if self._producer is None:
            await self._streams.catch_up()
            self._producer = await self._fence()
            self._current.clear()
        needed: set[Index] = {self._streams}
        if any(request.tracking for request in (*self._batch, *self._waiting)):
            needed.add(self._marks)
        if new := needed - self._current:
            try:
                async with running(self._address.glance()) as consumer:
                    await settled(self._producer, consumer, [one.tail.partition for one in new])
            except LogError:
                await self._give_up()
                raise
            for index in new:
                await index.catch_up()
            self._current |= new

    async def _fence(self) -> Any:
        """A producer that has fenced every other one, unless that is an engine's."""
        admin = await started(self._address.admin())
        try:
            await refuse_if_owned(admin, self._address, self._partition)
            own = await started(producer(self._address, self._partition))
            try:
                await refuse_if_owned(admin, self._address, self._partition)
            except BaseException:
                await ended(own)
                raise
            return own
        finally:
            await ended(admin)

    async def _give_up(self) -> None:
        own, self._producer = self._producer, None
        if own is not None:
            # What it has not sent yet is not to be sent any more; else it tries that for ever.
            own._sender.sender_task.cancel()
            await ended(own)

    async def _yield(self) -> None:
        """Let the other writer do something before it is fenced in turn; else neither gets on."""
        await asyncio.sleep(uniform(0, min(YIELD_AT_MOST, YIELD * 2**self._fenced)))
        self._fenced += 1

    # --------------------------------------------------------------------------- committing

    async def _commit(self) -> None:
        """Write what is under way, and tell each request what became of it."""
        transaction = Transaction(self._batch, self._streams, self._marks)
        for request in self._batch:
            self._streams.awaited[request.id] = []
            self._marks.awaited[request.id] = []
        try:
            async with asyncio.timeout(self._patience):
                await transaction.run(self._producer)
        except FAILURES as error:
            await self._settle(transaction, transaction.meaning(error))
        else:
            transaction.tell()
            self._fenced = 0
        finally:
            for request in self._batch:
                self._streams.awaited.pop(request.id)
                self._marks.awaited.pop(request.id)

    async def _settle(self, transaction: Transaction, failure: LogError) -> None:
        """Find out what became of a transaction that has failed, and tell.

        A request that was fenced is decided again; so is one that shared its transaction with
        what was rejected, and then alone.
        """
        await self._give_up()
        await self._until_settled(transaction)
        again = []
        for request in self._batch:
            index = self._streams if request.drafts else self._marks
            if found := index.awaited[request.id]:
                request.accept(found if request.drafts else [])
            elif isinstance(failure, Fenced):
                again.append(request)
            elif isinstance(failure, Rejected) and len(self._batch) > 1:
                request.is_alone = True
                again.append(request)
            else:
                request.refuse(type(failure)(f"{failure}; nothing was written"))
        self._waiting.extendleft(reversed(again))
        if isinstance(failure, Fenced):
            await self._yield()

    async def _until_settled(self, transaction: Transaction) -> None:
        """Wait until it is certain whether the transaction was committed.

        A fence makes it so at once. Where an engine is live it is left to do that; or else the
        broker does, when it ends a transaction that was abandoned. As long as the cluster is
        away nobody can say, and those who come meanwhile are refused.
        """
        while transaction.ends:
            try:
                with suppress(PartitionOwned):
                    await self._own()
                for index in transaction.ends:
                    await index.catch_up()
                if transaction.is_settled():
                    return
            except (Unavailable, Fenced) as error:
                log.warning("outcome_unknown", partition=self._partition, error=str(error))
                self._refuse_waiting(error)
            await asyncio.sleep(AGAIN)
