"""Records that aiokafka sends and cannot read: a header's name is no UTF-8."""

from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from adapters.kafka.connection import Address, running


class _NoText(str):
    """The name of a header as a program in C may write it."""

    __slots__ = ()

    def encode(self, *_: str) -> bytes:
        return b"\xff"


class _Strange(_DefaultRecordBatchBuilderPy):  # type: ignore[misc]
    """Writes what it is given."""


async def send_rubbish(address: Address, topic: str, *keys: bytes, partition: int = 0) -> None:
    """Send a batch of rubbish, of which what has the key `bad` cannot be read."""
    async with running(address.producer()) as producer:
        batch = producer.create_batch()
        batch._builder = _Strange(
            magic=2,
            compression_type=0,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=10_000,
        )
        for key in keys:
            header = _NoText("x") if key == b"bad" else "x"
            batch.append(timestamp=1, key=key, value=b"rubbish", headers=[(header, b"")])
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
