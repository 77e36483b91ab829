"""Tickets over HTTP, through the real process, on each log: opened, steered, read as they were."""

import json
from typing import Any

import httpx
import pytest

from tests.journey.running import Site, opening, problem

pytestmark = pytest.mark.service


def changed(site: Site, ticket: str, what: str, **body: Any) -> Any:
    response = site.owner.post(f"/v1/tickets/{ticket}/{what}", json=body)
    assert 200 == response.status_code, response.text
    return response.json()


def history(site: Site, ticket: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = site.anybody.get(f"/v1/tickets/{ticket}/events").json()["rows"]
    return rows


def test_a_ticket_is_opened_and_the_same_body_again_is_the_same_ticket(
    site: Site, ticket: str
) -> None:
    first = site.open(ticket, "build", "unit")
    assert (ticket, 1) == (first["ticket"], first["version"])
    assert f"{first['partition']}:{first['sequence']}" == first["after"]
    assert first == site.open(ticket, "build", "unit") | {
        "sequence": first["sequence"],
        "after": first["after"],
    }
    other = site.owner.post("/v1/tickets", json=opening(ticket, "build"))
    assert (409, "different-body", "id") == problem(other)


def test_a_ticket_is_steered_and_its_history_says_by_whom(site: Site, ticket: str) -> None:
    site.open(ticket, "build", "unit")
    changed(site, ticket, "priority", priority=5, reason="the release waits")
    changed(site, ticket, "hold", tasks=["build"])
    changed(site, ticket, "unhold")
    changed(site, ticket, "tasks", tasks=[{"name": "lint", "run": {"kind": "shell"}}])
    changed(site, ticket, "cancel", reason="no need")
    done = changed(site, ticket, "rerun", scope="ticket")
    site.seen(ticket, done["version"])
    told = history(site, ticket)
    assert {"local"} == {row["actor"] for row in told}
    assert [
        *("opened", "tasks_ready", "priority_changed", "tasks_held", "tasks_unheld"),
        *("tasks_ready", "tasks_added", "tasks_ready", "tasks_cancelled", "cancelled"),
        *("tasks_reset", "tasks_ready"),
    ] == [row["type"].rpartition(".")[2] for row in told]


def test_a_ticket_is_shown_as_it_was_at_a_version_and_at_an_instant(
    site: Site, ticket: str
) -> None:
    site.open(ticket, "build")
    done = changed(site, ticket, "cancel")
    one = f"/v1/tickets/{ticket}"
    now = site.seen(ticket, done["version"] + 1)
    assert "cancelled" == now["state"]
    first = site.anybody.get(one, params={"version": 1}).json()
    assert ("queued", 1) == (first["state"], first["version"])
    assert now == site.anybody.get(one, params={"version": now["version"]}).json()
    opened = history(site, ticket)[0]["time"]
    then = site.anybody.get(one, params={"at": opened}).json()
    assert "queued" == then["state"]
    tasks = site.anybody.get(f"{one}/tasks", params={"version": 1}).json()
    assert ["blocked"] == [task["state"] for task in tasks["rows"]]
    assert (404, "unknown-version", "version") == problem(
        site.anybody.get(one, params={"version": 99})
    )
    assert (404, "unknown-version", "at") == problem(
        site.anybody.get(one, params={"at": "2001-01-01T00:00:00Z"})
    )


def test_the_same_key_is_the_same_request(site: Site, ticket: str) -> None:
    site.open(ticket, "build")
    key = {"Idempotency-Key": "press-once"}
    path = f"/v1/tickets/{ticket}"
    one, other = (site.owner.post(f"{path}/hold", json={}, headers=key).json() for _ in range(2))
    assert one["version"] == other["version"]
    site.owner.post(f"{path}/unhold", json={})
    again = site.owner.post(f"{path}/hold", json={}, headers=key).json()
    assert one["version"] == again["version"]
    site.anybody.get(path, params={"after": again["after"]})
    assert 1 == [row["type"].rpartition(".")[2] for row in history(site, ticket)].count(
        "tasks_held"
    )


def test_thousands_are_opened_at_once_and_each_line_is_answered(site: Site, ticket: str) -> None:
    lines = [json.dumps(opening(f"{ticket}-{n}", "build")) for n in range(2_500)]
    lines[3] = "{"
    lines[5] = json.dumps(opening(f"{ticket}-5", "build", priority="high"))
    lines[7] = ""
    lines[9] = json.dumps(opening(f"{ticket}-9", "build", "build"))
    response = site.owner.post(
        "/v1/tickets",
        content="\n".join(lines),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert (200, "application/x-ndjson") == (
        response.status_code,
        response.headers["content-type"].partition(";")[0],
    )
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [n for n in range(1, 2_501) if n != 8] == [one["line"] for one in answers]
    refused = {one["line"]: one["problem"]["field"] for one in answers if "problem" in one}
    assert {4: "body", 6: "priority", 10: "tasks[1].name"} == refused
    assert {1} == {one["version"] for one in answers if "problem" not in one}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 422, "subject"),
        (b"[]", 422, "body"),
        (b"\xff", 422, "body"),
        (b"{" * 100_000, 422, "body"),
        (b'{"id": "' + b"x" * 200 + b'"}', 422, "id"),
        (b" " * (10 * 1024 * 1024), 413, "body"),
        ({"subject": None}, 422, "subject"),
        ({"tasks": []}, 422, "tasks"),
        ({"tasks": "build"}, 422, "tasks"),
        ({"task": []}, 422, "task"),
        ({"priority": 10**30}, 422, "priority"),
        ({"deadline": "2001-01-01T00:00:00Z"}, 422, "deadline"),
        ({"deadline": "tomorrow"}, 422, "deadline"),
        ({"labels": {"a": "b\0"}}, 422, "labels[...]"),
        ({"tasks": [{"name": "a"}]}, 422, "tasks[0].run"),
        ({"tasks": [{"name": "a\0", "run": {"kind": "shell"}}]}, 422, "tasks[0].name"),
        (
            {"tasks": [{"name": "a", "run": {"kind": "shell"}, "needs": ["b"]}]},
            422,
            "tasks[0].needs[0]",
        ),
        (
            {
                "tasks": [
                    {"name": "a", "run": {"kind": "shell"}, "needs": ["b"]},
                    {"name": "b", "run": {"kind": "shell"}, "needs": ["a"]},
                ]
            },
            422,
            "tasks[0].needs",
        ),
        (
            {"tasks": [{"name": "a", "run": {"kind": "shell", "parameters": {"n": 10**400}}}]},
            422,
            None,
        ),
        (
            {"tasks": [{"name": "a", "run": {"kind": "shell", "parameters": {"a": "\ud800"}}}]},
            422,
            None,
        ),
    ],
)
def test_what_cannot_be_a_ticket_is_refused_with_its_field(
    on_postgres: Site, ticket: str, body: bytes | dict[str, Any], status: int, field: str | None
) -> None:
    if isinstance(body, dict):
        body = json.dumps(opening(ticket, "build") | body).encode()
    response = on_postgres.owner.post("/v1/tickets", content=body)
    told = problem(response)
    assert status == told[0], response.text
    assert field is None or field == told[2], response.text
    assert 404 == on_postgres.anybody.get(f"/v1/tickets/{ticket}").status_code


def test_deep_nesting_is_refused(on_postgres: Site, ticket: str) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    task = {"name": "a", "run": {"kind": "shell", "parameters": {"deep": deep}}}
    response = on_postgres.owner.post("/v1/tickets", json=opening(ticket) | {"tasks": [task]})
    assert (422, "invalid") == problem(response)[:2]


def test_what_changes_something_needs_a_token_with_the_scope(
    on_postgres: Site, ticket: str
) -> None:
    site = on_postgres
    body = opening(ticket, "build")
    nobody = site.anybody.post("/v1/tickets", json=body)
    assert (401, "unauthenticated", "Authorization") == problem(nobody)
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    with site.client("turnstile_wrong") as stranger:
        assert 401 == problem(stranger.get("/v1/tickets"))[0]
    made = site.owner.post("/v1/tokens", json={"name": "forge", "scopes": ["submit"]})
    assert 201 == made.status_code
    with site.client(made.json()["token"]) as forge:
        opened = forge.post("/v1/tickets", json=body, headers={"On-Behalf-Of": "alice"})
        assert 201 == opened.status_code
        assert (403, "forbidden", "Authorization") == problem(
            forge.post(f"/v1/tickets/{ticket}/cancel")
        )
        assert (403, "forbidden", "Authorization") == problem(forge.get("/v1/tokens"))
        assert 201 == opened.status_code
    assert "forge:alice" == site.seen(ticket, 1)["opened_by"]


def test_a_token_is_made_listed_and_revoked_and_never_shown_again(on_postgres: Site) -> None:
    site = on_postgres
    made = site.owner.post("/v1/tokens", json={"name": "bob", "scopes": ["operate"], "days": 1})
    id_, token = made.json()["id"], made.json()["token"]
    listed = site.owner.get("/v1/tokens").text
    assert id_ in listed
    assert token not in listed
    with site.client(token) as bob:
        assert 200 == bob.get("/v1/tickets").status_code
        revoked = site.owner.delete(f"/v1/tokens/{id_}")
        assert "local" == revoked.json()["revoked_by"]
        assert 401 == problem(bob.get("/v1/tickets"))[0]
    assert (404, "unknown-token", "token") == problem(site.owner.delete("/v1/tokens/none"))
    for wrong, field in (
        ({"name": "a:b", "scopes": ["read"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["all"]}, "scopes[0]"),
        ({"name": "a", "scopes": ["read"], "days": 0}, "days"),
    ):
        assert (422, "invalid", field) == problem(site.owner.post("/v1/tokens", json=wrong))


def test_a_header_that_is_no_line_is_refused(on_postgres: Site, ticket: str) -> None:
    on_postgres.open(ticket, "build")
    for name in ("Idempotency-Key", "On-Behalf-Of"):
        response = on_postgres.owner.post(f"/v1/tickets/{ticket}/hold", headers={name: "x" * 129})
        assert (422, "invalid", name) == problem(response)


def test_a_method_that_is_not_there_is_refused(on_postgres: Site) -> None:
    response: httpx.Response = on_postgres.owner.put("/v1/tickets", json={})
    assert 405 == problem(response)[0]
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))
