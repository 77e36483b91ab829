"""What the API says of itself: automata, figures, its description, and the page that shows it."""

import json
import re
from collections.abc import Sequence
from itertools import product
from typing import Any

import jsonschema_rs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.http.docs import PAGE, POLICY
from adapters.postgres.connection import Address
from domain.automaton import Automaton
from domain.ticket.automata import TASK, TICKET
from domain.worker.automata import WORKER
from tests.contract.live_site import Served, site
from tests.contract.places import PostgresPlace
from tests.contract.test_projector import live

pytestmark = pytest.mark.service


async def described(api: Served) -> Any:
    return (await api.client.get("/v1/openapi.json")).json()


PAIRS: Sequence[tuple[str, Automaton[Any]]] = (
    ("ticket", TICKET),
    ("task", TASK),
    ("worker", WORKER),
)


async def test_the_automata_are_those_of_the_domain(address: Address) -> None:
    async with site(PostgresPlace(address), address, 1) as here, here.api() as api:
        automata = (await api.client.get("/v1/automaton")).json()
    for name, automaton in PAIRS:
        said = automata[name]
        assert automaton.diagram() == said["mermaid"]
        assert [state.value for state in automaton.states] == said["states"]
        assert {
            (edge.event.topic, source.value, automaton.successor(source, edge.event).value)
            for edge in automaton.edges
            for source in edge.sources
        } == {(edge["event"], edge["from"], edge["to"]) for edge in said["edges"]}
    assert ["superseded"] == automata["ticket"]["final"]


async def test_every_answer_and_body_has_an_example_that_fits(address: Address) -> None:
    async with site(PostgresPlace(address), address, 1) as here, here.api() as api:
        document = await described(api)
    components = {"components": document["components"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = [
                content
                for answer in (*operation["responses"].values(), operation.get("requestBody", {}))
                for content in answer.get("content", {}).items()
            ]
            assert answers
            for media, content in answers:
                assert "example" in content, (path, method, media)
                schema, example = content["schema"] | components, content["example"]
                jsonschema_rs.validate(schema, example)
                if media == "text/event-stream":
                    [data] = re.findall("^data: (.*)$", example, re.MULTILINE)
                    schema = content["schema"]["contentSchema"] | components
                    assert jsonschema_rs.is_valid(schema, json.loads(data))


async def test_what_is_answered_is_as_it_is_described(address: Address) -> None:
    async with site(PostgresPlace(address), address, 1) as here, here.api() as api:
        await live(here.asker, "9")
        document = await described(api)
        for path in ("/v1/automaton", "/v1/health", "/v1/partitions", "/v1/metrics", "/v1/docs"):
            response = await api.client.get(path)
            [(media, content)] = document["paths"][path]["get"]["responses"]["200"][
                "content"
            ].items()
            assert media == response.headers["content-type"]
            answer = response.json() if media == "application/json" else response.text
            components = {"components": document["components"]}
            jsonschema_rs.validate(content["schema"] | components, answer)


async def test_figures_are_in_the_text_format_and_their_labels_have_a_bound(
    address: Address,
) -> None:
    async with site(PostgresPlace(address), address, 2) as here, here.api() as api:
        await live(here.asker, "9")
        for path in ("/v1/tickets/9", "/v1/tickets/10", "/v1/nothing", "/v1/tickets/9?odd=1"):
            await api.client.get(path)
        await api.client.delete("/v1/tickets/9")
        async with api.listening() as stream:
            await stream.begun()
            text = (await api.client.get("/v1/metrics")).text
        families = {one.name: one for one in text_string_to_metric_families(text)}
        requests = {
            (one.labels["route"], one.labels["method"], one.labels["status"]): one.value
            for one in families["turnstile_requests"].samples
            if one.name.endswith("_total")
        }
        assert {
            ("/v1/tickets/{ticket}", "GET", "200"): 1,
            ("/v1/tickets/{ticket}", "GET", "404"): 1,
            ("/v1/tickets/{ticket}", "GET", "422"): 1,
            ("none", "GET", "404"): 1,
            ("none", "DELETE", "405"): 1,
            ("/v1/stream", "GET", "200"): 1,
        } == requests
        assert [1] == [one.value for one in families["turnstile_streams"].samples]
        lags = families["turnstile_partition_lag"].samples
        courses = product(("engine", "tickets", "leases", "workers"), ("0", "1"))
        assert set(courses) == {(one.labels["of"], one.labels["partition"]) for one in lags}


async def test_the_page_loads_nothing_from_elsewhere(address: Address) -> None:
    async with site(PostgresPlace(address), address, 1) as here, here.api() as api:
        page = await api.client.get("/v1/docs")
    assert PAGE == page.text
    assert POLICY == page.headers["content-security-policy"]
    assert "default-src 'none'" in POLICY
    assert not re.findall(r"unsafe|\*|//|\w+:", POLICY)
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+|@import|url\(", PAGE)
    assert not re.findall(r"<(?:link|img|iframe|script|object|embed)\s[^>]*>", PAGE)
    assert not re.findall(r"\s(?:on\w+|style|src|href)=", PAGE)
    assert ["openapi.json"] == re.findall(r'fetch\("([^"]*)"', PAGE)
