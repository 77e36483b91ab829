"""The API under attack by machine: whatever its description allows or forbids is sent to it.

`ATTACK_EXAMPLES` says how many requests are made up for each operation, beside those that follow
from its description; for a long attack give it some hundreds.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import pytest
import schemathesis
import structlog.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from msgspec import json
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection
from starlette.responses import Response

from adapters.access import Identity
from adapters.credentials import Credentials
from adapters.http import problems
from adapters.http.app import application
from adapters.http.endpoint import Endpoint
from adapters.http.gate import Gate
from adapters.http.openapi import LINES
from adapters.http.progress import Health
from tests.journey.furnished import Furnished, furnish
from tests.journey.running import Site, running

pytestmark = [pytest.mark.service, pytest.mark.slow]

EXAMPLES: Final = int(os.environ.get("ATTACK_EXAMPLES", "6"))
TICKETS: Final = 24
ENDLESS: Final = "/stream$"
"""What has no end is asked for by tests of its own."""

OF_ATTEMPTS: Final = re.compile(
    "^(PUT .*/log|PUT /v1/artifacts/.*|GET .*/artifacts.*|GET .*/log"
    "|POST .*/attempts/.*|POST .*/(claims|heartbeat))$"
)
"""What is asked for an attempt, or in a worker's session, is answered in tests of their own."""

PLACE: Final = re.compile(r"[0-9]{1,4}:[0-9]{1,19}").fullmatch


@schemathesis.serializer(LINES)
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """A text of lines as it is."""
    return value.encode(errors="surrogatepass") if isinstance(value, str) else json.encode(value)


@pytest.fixture(scope="module")
def attacked(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service of its own: what is done to it here, nobody else wants."""
    database = {"DATABASE_URL": postgres_dsn, "TURNSTILE_SCHEMA": f"t_{uuid4().hex[:12]}"}
    with running(tmp_path_factory.mktemp("data"), **database) as site:
        yield site


@pytest.fixture(scope="module")
def furnished(attacked: Site) -> Furnished:
    return furnish(attacked, TICKETS)


@pytest.fixture(scope="module")
def described(attacked: Site, furnished: Furnished) -> Any:
    """The description, and what of that which it speaks of is there."""
    return read_description(attacked, furnished)


def read_description(site: Site, furnished: Furnished) -> Any:
    """What is attacked, and how."""
    there = {
        "ticket": furnished.tickets,
        "id": furnished.letters,
        "token": furnished.tokens,
        "worker": furnished.workers,
    }
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "dictionaries": {name: {"values": values} for name, values in there.items() if values},
            "parameters": {
                f"path.{name}": {"dictionary": name, "probability": 0.75}
                for name, values in there.items()
                if values
            },
            "generation": {"max-examples": EXAMPLES, "deterministic": True},
            "checks": {
                # A body may be as described and no workflow: a cycle, a need of nothing.
                "positive_data_acceptance": {"enabled": False},
            },
        }
    )
    url = f"{site.url}/v1/openapi.json"
    return schemathesis.openapi.from_url(url, config=config).exclude(path_regex=ENDLESS)


@pytest.mark.parametrize("mode", GenerationMode)
def test_who_may_do_everything_finds_no_mistake(
    described: Any, attacked: Site, mode: GenerationMode
) -> None:
    attack = Attack({"Authorization": f"Bearer {attacked.token}"})
    assert [] == attack.mistakes(described, mode)
    if mode is GenerationMode.POSITIVE:  # so what is behind each operation has been reached
        labels = {one.ok().label for one in described.get_all_operations()}
        assert set() == {one for one in labels - attack.answered if not OF_ATTEMPTS.fullmatch(one)}


def test_who_has_no_token_finds_no_mistake(described: Any) -> None:
    assert [] == Attack({}).mistakes(described, GenerationMode.POSITIVE)


def test_a_mistake_is_found() -> None:
    async def breaks() -> Health:
        raise ZeroDivisionError

    async def lies() -> Response:
        return Response(b'{"alive": "perhaps"}', media_type="application/json")

    async def invents() -> Health:
        raise problems.Refusal(409, "conflict", "Nobody has said that this may happen.")

    endpoints = [
        Endpoint("GET", f"/v1/{answer.__name__}", "", Health, answer)
        for answer in (breaks, lies, invents)
    ]
    application_ = application(endpoints, Gate(Nobody(), Credentials(bytes(32))))
    described = schemathesis.openapi.from_asgi("/v1/openapi.json", application_)
    with structlog.testing.capture_logs():
        found = Attack({}).mistakes(described, GenerationMode.POSITIVE)
    assert [
        "GET /v1/breaks: Server error",
        "GET /v1/lies: Response violates schema",
        "GET /v1/invents: Undocumented status code",
    ] == [one.splitlines()[0] for one in found]


class Nobody:
    """Knows no token."""

    async def identity(self, token: str) -> Identity | None:
        return None


class Attack:
    """Sends what can be asked, and remembers what is wrong with the answers."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.answered: set[str] = set()
        """The operations of which something was done as it was asked."""
        self._headers = headers
        self._found: dict[str, None] = {}

    def mistakes(self, described: Any, mode: GenerationMode) -> list[str]:
        """What is wrong."""
        for each in described.get_all_operations():
            operation = each.ok()
            for case in described.iter_coverage_cases(
                operation, generation_modes=[mode], generation_config=described.config.generation
            ):
                self._send(case)
            made_up = given(case=operation.as_strategy(generation_mode=mode))
            with suppress(Unsatisfiable):  # there is nothing to get wrong
                SETTINGS(made_up(self._take))()
        return list(self._found)

    def _take(self, case: Any) -> None:
        self._send(case)

    def _send(self, case: Any) -> None:
        """Send it, and hold the answer against the description."""
        if isinstance(case.query, dict) and PLACE(str(case.query.get("after"))):
            case.query["after"] = "0:0"  # what the views have not come to is waited for
        response = case.call(headers=self._headers)
        if response.status_code < 300:
            self.answered.add(case.operation.label)
        try:
            # Of many lines each is answered, whatever the others are.
            excluded = [negative_data_rejection] if case.media_type == LINES else []
            case.validate_response(response, headers=self._headers, excluded_checks=excluded)
        except FailureGroup as group:
            label = case.operation.label
            self._found |= dict.fromkeys(f"{label}: {one}" for one in group.exceptions)


SETTINGS: Final = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
