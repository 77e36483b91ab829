"""What a connection that fails in an odd way is taken for."""

import errno

import httpx
import pytest

from adapters.client.connection import Http

NOT_CONNECTED = OSError(errno.ENOTCONN, "Transport endpoint is not connected")
CLOSED = AttributeError("'NoneType' object has no attribute 'getpeername'", name="getpeername")


def http(error: Exception) -> Http:
    """A client whose every request fails so."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return Http(base_url="http://127.0.0.1:1", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("error", [NOT_CONNECTED, CLOSED])
async def test_a_connection_that_is_closed_as_it_begins_has_sent_nothing(error: Exception) -> None:
    async with http(error) as client:
        with pytest.raises(httpx.ConnectError, match="closed as it began"):
            await client.get("/")


@pytest.mark.parametrize("error", [AttributeError("ours", name="ours"), FileNotFoundError("ours")])
async def test_a_mistake_is_no_failed_connection(error: Exception) -> None:
    async with http(error) as client:
        with pytest.raises(type(error), match="ours"):
            await client.get("/")
