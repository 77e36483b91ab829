"""What somebody hostile sends to the real process, and that each is told what is wrong with it."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.journey.running import Site, opening, problem

pytestmark = pytest.mark.service

NOW: Final = "2026-01-01T00:00:00Z"
EARLY: Final = "0001-01-01T00:00:00+14:00"
LATE: Final = "9999-12-31T23:59:59-14:00"


def cursor(*place: Any) -> str:
    """A cursor as pages hand them out, of anything."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/tickets", (NOW, "a\0")),
        ("/v1/tickets", (EARLY, "a")),
        ("/v1/tickets", (LATE, "a")),
        ("/v1/tickets", ("2026-01-01T00:00:00", "a")),
        ("/v1/queue", (1.0, "a", "b\0")),
        ("/v1/results?ticket=a", (NOW, "a", 2**31, 1)),
        ("/v1/results?ticket=a", (NOW, "a", 1, -(2**63) - 1)),
        ("/v1/tickets/{ticket}/tasks", (2**31,)),
        ("/v1/tickets/{ticket}/tasks?version=1", (2**70,)),
        ("/v1/tickets/{ticket}/attempts", (-(2**70),)),
        ("/v1/dead", (NOW, 2**31, 1)),
        ("/v1/dead", (NOW, 1, 2**63)),
        ("/v1/dead", (LATE, 1, 1)),
        ("/v1/tokens", (NOW, "\0")),
        ("/v1/tokens", (EARLY, "a")),
        ("/v1/tickets", {}),
        ("/v1/tickets/{ticket}/tasks", ()),
    ],
)
def test_a_cursor_that_nobody_handed_out_is_refused(
    site: Site, ticket: str, path: str, place: Any
) -> None:
    after = site.open(ticket, "build")["after"]
    site.anybody.get(f"/v1/tickets/{ticket}", params={"after": after}).raise_for_status()
    url = httpx.URL(path.format(ticket=ticket)).copy_merge_params({"cursor": cursor(*place)})
    assert (422, "invalid", "cursor") == problem(site.owner.get(url))


@pytest.mark.parametrize("instant", [EARLY, LATE, "2026-01-01T00:00:00", "0", "253402300800"])
def test_an_instant_off_every_calendar_is_refused(
    on_postgres: Site, ticket: str, instant: str
) -> None:
    on_postgres.open(ticket, "build")
    for path, name in (
        ("/v1/tickets", "since"),
        ("/v1/tickets", "before"),
        ("/v1/results?testcase=a", "since"),
        (f"/v1/tickets/{ticket}", "at"),
        (f"/v1/tickets/{ticket}/tasks", "at"),
        (f"/v1/tickets/{ticket}/events", "at"),
    ):
        url = httpx.URL(path).copy_merge_params({name: instant})
        assert (422, "invalid", name) == problem(on_postgres.anybody.get(url))


def test_a_condition_that_is_named_twice_finds_a_ticket_once(
    on_postgres: Site, ticket: str
) -> None:
    after = on_postgres.open(ticket, "build", labels={"of": ticket})["after"]
    asked = {"state": ["queued", "queued", "failed"], "label": f"of={ticket}", "after": after}
    found = on_postgres.anybody.get("/v1/tickets", params=asked).json()
    assert [ticket] == [row["ticket"] for row in found["rows"]]


def test_a_parameter_that_is_not_there_is_refused_everywhere(
    on_postgres: Site, ticket: str
) -> None:
    on_postgres.open(ticket, "build")
    for method, path in (
        ("GET", "/v1/health"),
        ("GET", "/v1/automaton"),
        ("POST", "/v1/tickets"),
        ("POST", f"/v1/tickets/{ticket}/cancel"),
    ):
        refused = on_postgres.owner.request(method, path, params={"force": "yes"})
        assert (422, "invalid", "force") == problem(refused)


def test_no_header_leads_anybody_elsewhere(on_postgres: Site) -> None:
    for path in ("/v1/tickets/", "//v1/tickets", "/v1/tickets/a%2Fb"):
        refused = on_postgres.anybody.get(path, headers={"Host": "elsewhere.example"})
        assert (404, "http", None) == problem(refused)


@pytest.mark.parametrize("id_", [".", "..", "", "a/b", "a%2Fb", "é", "a\n", "٣", "x" * 129])
def test_an_id_that_no_path_can_have_is_refused(on_postgres: Site, id_: str) -> None:
    refused = on_postgres.owner.post("/v1/tickets", json=opening(id_, "build"))
    assert (422, "invalid", "id") == problem(refused)


def test_what_is_wrong_with_a_key_names_its_field(on_postgres: Site, ticket: str) -> None:
    for key in ("", "a\0"):
        body = opening(ticket, "build", labels={key: "x"})
        refused = on_postgres.owner.post("/v1/tickets", json=body)
        assert (422, "invalid", "labels") == problem(refused)


def test_who_sends_too_large_a_ticket_is_told_how_it_can_come(site: Site, ticket: str) -> None:
    tasks = [{"name": f"{'t' * 100}-{n}", "run": {"kind": "shell"}} for n in range(5_000)]
    refused = site.owner.post("/v1/tickets", json=opening(ticket) | {"tasks": tasks})
    assert (413, "too-large", "body") == problem(refused)
    assert "`sealed` false" in refused.json()["detail"]
    site.open(ticket, sealed=False)
    for n in range(0, 5_000, 2_500):
        body = {"tasks": tasks[n : n + 2_500]}
        site.owner.post(f"/v1/tickets/{ticket}/tasks", json=body).raise_for_status()
    done = site.owner.post(f"/v1/tickets/{ticket}/seal", json={}).json()
    assert 5_000 == site.seen(ticket, done["version"])["tasks"]


def test_a_body_of_too_many_lines_is_refused_before_any_is_read(on_postgres: Site) -> None:
    for end in (b"\n", b"\r"):
        refused = on_postgres.owner.post(
            "/v1/tickets",
            content=b"x" + end * 200_001,
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert (413, "too-large", "body") == problem(refused)


def test_of_many_bodies_for_one_ticket_one_wins(site: Site, ticket: str) -> None:
    def open_(priority: int) -> httpx.Response:
        return site.owner.post("/v1/tickets", json=opening(ticket, "build", priority=priority))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(open_, range(32)))
    [winner] = [n for n, answer in enumerate(answers) if answer.status_code == 201]
    assert {201, 409} == {answer.status_code for answer in answers}
    assert winner == site.seen(ticket, 1)["priority"]


async def test_a_token_is_nowhere_but_with_its_holder(on_postgres: Site, ticket: str) -> None:
    site = on_postgres
    token = site.owner.post("/v1/tokens", json={"name": "eve", "scopes": ["submit"]}).json()[
        "token"
    ]
    with site.client(token) as eve:
        eve.post("/v1/tickets", json=opening(ticket, "build"))
        eve.post("/v1/tickets", json={"id": ticket})
        eve.get("/v1/tokens")
        eve.get(f"/v1/tickets/{uuid4()}")
    connection = await asyncpg.connect(str(site.given["DATABASE_URL"]))
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
            "WHERE schemaname LIKE $1 || '%'",
            site.given["TURNSTILE_SCHEMA"],
        )
        rows = [
            str(row)
            for table in tables
            for row in await connection.fetch(f"SELECT t::text FROM {table['name']} AS t")
        ]
    finally:
        await connection.close()
    assert any("eve" in row for row in rows)
    for shown in (token, site.token):
        secret = shown.removeprefix("turnstile_")
        assert not [row for row in rows if secret in row or secret.encode().hex() in row]
        assert not [line for line in site.said if secret in line]
    assert any("batch" in line for line in site.said)
