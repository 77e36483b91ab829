"""The API over a real server: what is asked for, how it is described, and how it is refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import pytest_asyncio
import structlog.testing
from msgspec import json

from adapters.access import Identity
from adapters.codec import Codec
from adapters.credentials import Credentials
from adapters.http.app import BODY, application
from adapters.http.endpoint import Endpoint
from adapters.http.gate import Gate
from adapters.http.openapi import document
from adapters.http.tickets import TicketReading
from adapters.postgres.archive import Archive
from adapters.postgres.connection import Address, open_pool
from adapters.postgres.views.history import open_history
from adapters.postgres.views.queries import TicketQueries
from adapters.postgres.views.tickets import open_tickets
from adapters.postgres.views.view import address_of
from domain.kinds import DECIDERS
from tests.service.test_ticket_queries import EVENTS, TABLES
from tests.service.test_ticket_views import fold_of, folding, log_of
from workers.api import Api
from workers.web import Web

pytestmark = pytest.mark.service

CODEC = Codec(DECIDERS)


class Nobody:
    """Knows no token."""

    async def identity(self, token: str) -> Identity | None:
        return None


PUBLIC = Gate(Nobody(), Credentials(bytes(32)))


class Site:
    """An API that serves, and a client of it."""

    def __init__(self, client: httpx.AsyncClient, described: dict[str, Any]) -> None:
        self._client = client
        self._described = described

    async def get(self, path: str, template: str | None = None, **query: Any) -> Any:
        """What is answered, which must be as it is described. Fails if it is a refusal."""
        response = await self._client.get(path, params=query)
        assert 200 == response.status_code, response.text
        self._check(response, template or path)
        return response.json()

    async def refused(self, path: str, template: str | None = None, **query: Any) -> Any:
        """The problem, which must be as it is described."""
        response = await self._client.get(path, params=query)
        assert "application/problem+json" == response.headers["content-type"]
        problem = response.json()
        assert response.status_code == problem["status"]
        if template is not None or path in self._described["paths"]:
            self._check(response, template or path)
        return problem

    def _check(self, response: httpx.Response, template: str) -> None:
        operation = self._described["paths"][template]["get"]
        [content] = operation["responses"][str(response.status_code)]["content"].values()
        schema = content["schema"] | {"components": self._described["components"]}
        jsonschema_rs.validate(schema, response.json())


@pytest_asyncio.fixture
async def site(address: Address) -> AsyncIterator[Site]:
    at, archive = address_of(address, "tickets"), address_of(address, "history")
    for view in (
        await open_tickets(at, log_of(), lease=1),
        await open_history(archive, log_of(), CODEC, lease=1),
    ):
        async with folding(view) as one, fold_of(one) as fold:
            await fold.fold(EVENTS)
    async with open_pool(at, 2) as views, open_pool(archive, 2) as events:
        reading = TicketReading(TicketQueries(views), Archive(events, CODEC))
        api = Api(Web(application(reading.endpoints(), PUBLIC)), "127.0.0.1:0")
        serving = asyncio.create_task(api.run())
        async with asyncio.timeout(10):
            while api.address.endswith(":0"):
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://{api.address}") as client:
            described = (await client.get("/v1/openapi.json")).json()
            yield Site(client, described)
        api.stop()
        await serving


ONE = "/v1/tickets/{ticket}"


async def test_tickets_are_listed_page_by_page(site: Site) -> None:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await site.get("/v1/tickets", limit=25, **cursor)
        found += [row["ticket"] for row in page["rows"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [str(n) for n in range(59, -1, -1)] == found


async def test_a_parameter_may_be_given_several_times(site: Site) -> None:
    page = await site.get("/v1/tickets", state=["failed", "passed"], limit=1000)
    assert {"failed"} == {row["state"] for row in page["rows"]}
    labels = await site.get("/v1/tickets", label=["team=blue", "nightly=yes"])
    assert {"blue"} == {row["labels"]["team"] for row in labels["rows"]}


async def test_a_ticket_is_shown_with_its_tasks_and_attempts(site: Site) -> None:
    ticket = await site.get("/v1/tickets/2", ONE)
    assert ("failed", TABLES.tickets["2"].version) == (ticket["state"], ticket["version"])
    tasks = await site.get("/v1/tickets/2/tasks", f"{ONE}/tasks", state="failed")
    [task] = tasks["rows"]
    assert ("A", {"kind": "shell"}) == (task["task"], task["spec"]["run"])
    attempts = await site.get("/v1/tickets/2/attempts", f"{ONE}/attempts")
    assert ["task_failed"] == [row["ended"] for row in attempts["rows"]]


async def test_a_history_is_told_and_can_be_read_in_parts(site: Site) -> None:
    whole = await site.get("/v1/tickets/2/events", f"{ONE}/events")
    own = [event for event in EVENTS if event.originator_id == "ticket/2"]
    assert [event.originator_version for event in own] == [row["version"] for row in whole["rows"]]
    assert whole["rows"][0]["what"].startswith("opened for commit branch-2 of tunnel")
    part = await site.get("/v1/tickets/2/events", f"{ONE}/events", cursor=1, limit=2)
    assert (whole["rows"][1:3], "3") == (part["rows"], part["next"])
    until = await site.get("/v1/tickets/2/events", f"{ONE}/events", until=3)
    assert whole["rows"][:3] == until["rows"]


async def test_the_queue_and_results_are_asked_for(site: Site) -> None:
    queue = await site.get("/v1/queue", project="tower", limit=3)
    ranks = [row["rank"] for row in queue["rows"]]
    assert sorted(ranks) == ranks
    results = await site.get("/v1/results", testcase="logout", outcome="failed")
    assert {"logout"} == {row["testcase"] for row in results["rows"]}


@pytest.mark.parametrize(
    ("path", "template", "query", "status", "field"),
    [
        ("/v1/tickets/none", ONE, {}, 404, "ticket"),
        ("/v1/tickets/none/tasks", f"{ONE}/tasks", {}, 404, "ticket"),
        ("/v1/tickets/none/events", f"{ONE}/events", {}, 404, "ticket"),
        ("/v1/tickets/a%20b", ONE, {}, 422, "ticket"),
        ("/v1/tickets/%00", ONE, {}, 422, "ticket"),
        ("/v1/tickets", None, {"state": "odd"}, 422, "state[0]"),
        ("/v1/tickets", None, {"stat": "failed"}, 422, "stat"),
        ("/v1/tickets", None, {"limit": "many"}, 422, "limit"),
        ("/v1/tickets", None, {"limit": 1001}, 422, "limit"),
        ("/v1/tickets", None, {"limit": [1, 2]}, 422, "limit"),
        ("/v1/tickets", None, {"cursor": "x"}, 422, "cursor"),
        ("/v1/tickets", None, {"since": "yesterday"}, 422, "since"),
        ("/v1/tickets", None, {"label": "team"}, 422, "label[0]"),
        ("/v1/tickets", None, {"label": "team=a\0"}, 422, "label[0]"),
        ("/v1/tickets", None, {"project": "a\0b"}, 422, "project"),
        ("/v1/tickets", None, {"project": "x" * 2000}, 422, "project"),
        ("/v1/results", None, {}, 422, "testcase"),
        ("/v1/queue", None, {"class": "a\0"}, 422, "class"),
        ("/v1/nothing", None, {}, 404, None),
    ],
)
async def test_what_is_wrong_is_refused_with_its_field(
    site: Site, path: str, template: str | None, query: Any, status: int, field: str | None
) -> None:
    problem = await site.refused(path, template, **query)
    assert (status, field) == (problem["status"], problem.get("field"))


def test_every_reference_of_the_description_leads_somewhere() -> None:
    described = document(TicketReading(None, None).endpoints())  # type: ignore[arg-type]
    text = json.encode(described).decode()
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names == set(described["components"]["schemas"])


async def test_a_mistake_of_ours_is_told_to_the_log_and_not_to_the_client() -> None:
    async def fail() -> None:
        raise KeyError("a secret")

    app = application([Endpoint("GET", "/v1/fail", "Fails", int, fail)], PUBLIC)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with structlog.testing.capture_logs() as said:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            response = await client.get("/v1/fail")
    assert 500 == response.status_code
    assert "secret" not in response.text
    assert ["request_failed"] == [line["event"] for line in said]


async def test_a_body_has_a_limit_and_its_faults_have_names() -> None:
    async def take(body: dict[str, int]) -> int:
        return len(body)

    app = application(
        [Endpoint("POST", "/v1/take", "Takes", int, take, body=dict[str, int])], PUBLIC
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:

        async def sent(body: bytes) -> tuple[int, str | None]:
            response = await client.post("/v1/take", content=body)
            problem = response.json()
            return response.status_code, problem.get("field") if problem != 1 else None

        assert (200, None) == await sent(b'{"a": 1}')
        assert (422, "[...]") == await sent(b'{"a": "b"}')
        assert (422, "body") == await sent(b"{")
        assert (422, "body") == await sent(b"\xff")
        assert (422, "body") == await sent(b"[" * 100_000)
        assert (413, "body") == await sent(b" " * (BODY + 1))


async def test_who_still_waits_when_the_server_stops_may_ask_again() -> None:
    asked = asyncio.Event()

    async def never() -> dict[str, str]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    endpoint = Endpoint("GET", "/v1/never", "Nobody answers", dict[str, str], never)
    api = Api(Web(application((endpoint,), PUBLIC)), "127.0.0.1:0", grace=1)
    serving = asyncio.create_task(api.run())
    async with asyncio.timeout(10):
        while api.address.endswith(":0"):
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://{api.address}") as client:
            waiting = asyncio.create_task(client.get("/v1/never"))
            await asked.wait()
            api.stop()
            response = await waiting
        await serving
    assert (504, "urn:turnstile:problem:no-answer") == (
        response.status_code,
        response.json()["type"],
    )
