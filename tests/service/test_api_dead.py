"""Dead letters over HTTP: listed, shown, and what is to become of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest
import pytest_asyncio
from msgspec.structs import replace

from adapters.access import Identity, Scope
from adapters.config import Config
from adapters.credentials import Credentials
from adapters.http.app import application
from adapters.http.dead import DeadLetterDesk
from adapters.http.gate import Gate
from adapters.postgres.connection import Address, connect
from adapters.postgres.dead import open_dead
from adapters.postgres.log import open_log
from tests.contract.counter import CODEC
from tests.service.test_dead_table import PUT_ASIDE
from workers.compose import assemble, views_of

pytestmark = pytest.mark.service


CAROL = {"Authorization": "Bearer carol"}


class Operators:
    """Knows the tokens of operators, which are their names."""

    async def identity(self, token: str) -> Identity | None:
        return Identity(token, frozenset({Scope.OPERATE}))


@pytest_asyncio.fixture
async def desk(address: Address) -> AsyncIterator[DeadLetterDesk]:
    """A desk with three letters, in the order of their positions."""
    async with (
        open_log(address, CODEC, partitions=1) as log,
        open_dead(address, log, CODEC) as letters,
    ):
        connection = await connect(address)
        for n in (1, 2, 3):
            await connection.execute(PUT_ASIDE, n, uuid4())
        await connection.close()
        yield DeadLetterDesk(letters)


@pytest_asyncio.fixture
async def client(desk: DeadLetterDesk) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        application(desk.endpoints(), Gate(Operators(), Credentials(bytes(32))))
    )
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=CAROL
    ) as client:
        yield client


async def test_letters_are_listed_page_by_page_as_it_is_described(
    client: httpx.AsyncClient,
) -> None:
    described = (await client.get("/v1/openapi.json")).json()
    answers = described["paths"]["/v1/dead"]["get"]["responses"]["200"]["content"]
    schema = answers["application/json"]["schema"] | {"components": described["components"]}
    first = (await client.get("/v1/dead", params={"limit": 2})).json()
    second = (await client.get("/v1/dead", params={"cursor": first["next"]})).json()
    for page in (first, second):
        jsonschema_rs.validate(schema, page)
    assert ["0-3", "0-2", "0-1"] == [row["id"] for row in first["rows"] + second["rows"]]
    assert second["next"] is None


async def test_a_letter_is_shown(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/v1/dead/0-2")).json()
    assert ("0-2", "{}") == (shown["letter"]["id"], shown["content"]["text"])


@pytest.mark.parametrize(
    ("path", "status", "type_"),
    [
        ("/v1/dead/0-9", 404, "no-such-letter"),
        ("/v1/dead/x", 404, "no-such-letter"),
        ("/v1/dead/a%20b", 422, "invalid"),
        ("/v1/dead?cursor=x", 422, "invalid"),
        ("/v1/dead?settled=maybe", 422, "invalid"),
    ],
)
async def test_what_is_not_there_or_wrong_is_a_problem(
    client: httpx.AsyncClient, path: str, status: int, type_: str
) -> None:
    problem = (await client.get(path)).json()
    assert (status, f"urn:turnstile:problem:{type_}") == (problem["status"], problem["type"])


async def test_what_is_done_with_letters_is_in_the_list_of_the_settled(
    client: httpx.AsyncClient,
) -> None:
    alice, bob = ({"Authorization": f"Bearer {name}"} for name in ("alice", "bob"))
    nobody = {"Authorization": "none"}
    assert 401 == (await client.post("/v1/dead/0-1/inject", headers=nobody)).status_code
    injected = await client.post("/v1/dead/0-1/inject", headers=alice)
    why = {"reason": "it is old"}
    dropped = await client.post("/v1/dead/0-2/drop", headers=bob, json=why)
    late = await client.post("/v1/dead/0-1/drop", headers=bob)
    assert [200, 200, 409] == [one.status_code for one in (injected, dropped, late)], injected.text
    assert "urn:turnstile:problem:letter-settled" == late.json()["type"]
    assert ["0-3"] == [row["id"] for row in (await client.get("/v1/dead")).json()["rows"]]
    rows = (await client.get("/v1/dead", params={"settled": "true"})).json()["rows"]
    assert [dropped.json(), injected.json()] == rows
    assert [("0-2", "dropped", "bob", "it is old"), ("0-1", "injected", "alice", None)] == [
        (row["id"], row["settled"]["how"], row["settled"]["by"], row["settled"]["why"])
        for row in rows
    ]


@pytest.fixture(params=["postgres", "kafka"])
def config(request: pytest.FixtureRequest, address: Address, tmp_path: Path) -> Config:
    """A site of its own, with its log on each kind of server."""
    config = Config(
        database_url=address.dsn, schema=address.schema, partitions=2, data=str(tmp_path)
    )
    if request.param == "postgres":
        return config
    servers, topics = request.getfixturevalue("kafka"), f"t_{uuid4().hex[:12]}"
    return replace(config, kafka=servers, kafka_topics=topics, kafka_replication=1)


async def test_the_api_of_a_site_serves_the_letters_of_its_log(config: Config) -> None:
    async with assemble(config, views=views_of(config), http=True) as service:
        assert service.web is not None
        transport = httpx.ASGITransport(service.web.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            assert {"rows": [], "next": None} == (await client.get("/v1/dead")).json()
