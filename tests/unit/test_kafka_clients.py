"""Clients of Kafka are ended whatever becomes of who has started them."""

import asyncio
from contextlib import suppress

from adapters.kafka.connection import Address, started


async def test_who_is_told_twice_to_wait_no_more_leaves_no_client_open() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    asked = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    consumer = Address(f"{host}:{port}", "t").consumer()
    starting = asyncio.create_task(started(consumer))
    await asked.wait()
    for _ in range(2):
        starting.cancel()
        await asyncio.sleep(0.01)
    with suppress(asyncio.CancelledError):
        await starting
    assert starting.cancelled()
    assert consumer._closed
    server.close()
    await server.wait_closed()
