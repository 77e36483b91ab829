"""The client's wheel in an environment of its own, beside a program with packages like ours."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from zipfile import ZipFile

import pytest
import pytest_asyncio

from tests.journey.test_wheel import ROOT, Installed, run, succeed
from tests.service import request_site
from tests.service.contract_api import Served
from tests.service.request_site import OPENED, of
from tests.service.test_client import on_the_real_api, serving

__all__ = ["serving"]
pytestmark = [pytest.mark.slow, pytest.mark.service]

CLIENT = ROOT / "adapters" / "client"
README = (CLIENT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SUBMITTING, WAITING, WATCHING, MANY, WORKING, KAFKA = EXAMPLES
PROGRAM = {
    "domain/__init__.py": "NAME = 'tower'\n",
    "adapters/__init__.py": "",
    "adapters/forge.py": '''\
from domain import NAME
from turnstile import Accepted, Opening, Run, Subject, TaskSpec, TicketProducer


async def pushed(revision: str) -> Accepted:
    """Ask for the tests of a push."""
    async with TicketProducer() as producer:
        return await producer.submit(
            Opening(
                id=f"{NAME}-{revision}",
                subject=Subject("commit", project=NAME, name="main", revision=revision),
                tasks=(TaskSpec("unit", Run("shell", {"command": ["make", "test"]})),),
            )
        )
''',
    "program.py": """\
import asyncio

import adapters
import domain
import turnstile
from adapters.forge import pushed


async def main() -> None:
    accepted = await pushed("c0ffee")
    async with turnstile.Client() as client:
        ticket = await client.ticket(accepted.ticket, after=accepted.after)
    print(ticket.ticket, ticket.project, ticket.state, ticket.version)


asyncio.run(main())
""",
}
WRONG = """
from turnstile import Opening, TicketProducer


async def main() -> None:
    async with TicketProducer() as producer:
        answer = await producer.submit(Opening(id=9))
        answer.versions
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=CLIENT)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with what it declares to need, in the locked versions, and a program beside it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    uv, python = Path(sys.executable).with_name("uv"), elsewhere / "venv" / "bin" / "python"
    succeed(uv, "venv", "--python", sys.executable, "venv", cwd=elsewhere)
    lock = ("--constraint", ROOT / "requirements.lock")
    succeed(uv, "pip", "install", "--python", python, *lock, wheel, cwd=elsewhere)
    for name, text in PROGRAM.items():
        (elsewhere / "program" / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / "program" / name).write_text(text)
    return Installed(python.parent, elsewhere / "program")


@pytest.fixture(scope="module")
def with_kafka(installed: Installed, wheel: Path) -> Installed:
    """… and with what Kafka needs."""
    uv, python = Path(sys.executable).with_name("uv"), installed.bin / "python"
    lock = ("--constraint", ROOT / "requirements.lock")
    asked = f"turnstile-client[kafka] @ {wheel.as_uri()}"
    succeed(uv, "pip", "install", "--python", python, *lock, asked, cwd=installed.elsewhere)
    return installed


class Site:
    """An API to ask, by programs of their own."""

    def __init__(self, api: Served) -> None:
        self.api = api
        self.url = "http://{}:{}".format(*api.address)

    async def python(self, program: Installed, *arguments: str, **more: str) -> str:
        """What a program prints that knows of the API from its environment."""
        told = {"TURNSTILE_URL": self.url, "TURNSTILE_TOKEN": self.api.token, **more}
        return await asyncio.to_thread(_printed, program, told, arguments)


def _printed(program: Installed, told: dict[str, str], arguments: tuple[str, ...]) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [program.bin / "python", "-W", "error", *arguments],
        cwd=program.elsewhere,
        env=kept | told,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest_asyncio.fixture
async def site(serving: AbstractAsyncContextManager[Served]) -> AsyncIterator[Site]:
    async with serving as api:
        yield Site(api)


def test_the_wheel_is_one_package_and_says_that_it_is_typed(wheel: Path) -> None:
    modules = {f"turnstile/{file.name}" for file in CLIENT.glob("*.py")} | {"turnstile/py.typed"}
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert modules == {name for name in names if ".dist-info/" not in name}
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_it_brings_nothing_that_it_does_not_say(installed: Installed) -> None:
    uv = Path(sys.executable).with_name("uv")
    python = installed.bin / "python"
    listed = succeed(
        uv, "pip", "list", "--python", python, "--format", "json", cwd=installed.elsewhere
    )
    names = {package["name"] for package in json.loads(listed)}
    assert {"turnstile-client", "httpx", "msgspec"} <= names
    assert not names & {"aiokafka", "turnstile-server", "starlette", "asyncpg", "structlog"}


async def test_a_program_with_packages_like_ours_asks_for_a_ticket(
    installed: Installed, site: Site
) -> None:
    assert "tower-c0ffee tower queued 2\n" == await site.python(installed, "program.py")


@on_the_real_api
async def test_the_examples_of_its_readme_ask_for_tickets(installed: Installed, site: Site) -> None:
    assert "tower-4711 is at version 1\n" == await site.python(installed, "-c", SUBMITTING)
    assert "2500 tickets are open\n" == await site.python(installed, "-c", MANY)


@on_the_real_api
async def test_the_runner_of_its_readme_runs_what_waits(installed: Installed, site: Site) -> None:
    await site.python(installed, "-c", SUBMITTING)
    ran = [f"tower-4711 {task}: attempt 1 of shell" for task in ("build", "unit")]
    assert ran == (await site.python(installed, "-c", WORKING)).splitlines()


async def test_the_examples_of_its_readme_follow_them(installed: Installed, site: Site) -> None:
    assert "tower-4711 is at version 1\n" == await site.python(installed, "-c", SUBMITTING)
    watching = asyncio.ensure_future(site.python(installed, "-uc", WATCHING))
    waiting = asyncio.ensure_future(site.python(installed, "-c", WAITING))
    await site.api.watched(2)
    await site.api.run("tower-4711", "build", "unit")
    assert "tower-4711 the ticket passed\n" == (await watching)[-29:]
    assert (await waiting).endswith("all 2 tasks passed\n")


async def test_the_example_for_kafka_runs(with_kafka: Installed, kafka: str) -> None:
    site = request_site.Site(kafka)
    async with site.serving("engine", "intake") as service:
        example = KAFKA.replace('"forge.requests"', f'"{site.forge}"')
        told = {"BROKERS": kafka}
        printed = await asyncio.to_thread(_printed, with_kafka, told, ("-c", example))
        assert "tower-4712 is at offset 0\n" == printed
        await site.settled(service)
        assert OPENED == [event["type"] for event in of(await site.events(), "tower-4712")]


def test_types_are_checked_in_a_user_s_program(installed: Installed) -> None:
    """By the strictest rules, and what is wrong is found."""
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable")
    python, program = installed.bin / "python", installed.elsewhere
    for name, text in (
        ("submitting.py", SUBMITTING),
        ("waiting.py", WAITING),
        ("many.py", MANY),
        ("working.py", WORKING),
    ):
        (program / name).write_text(text)
    right = ("program.py", "submitting.py", "waiting.py", "many.py", "working.py")
    succeed(*mypy, python, *right, cwd=program)
    (program / "wrong.py").write_text(WRONG)
    found = run(*mypy, python, "wrong.py", cwd=program).stdout
    assert {"call-arg", "arg-type", "attr-defined"} == set(re.findall(r"error: .*\[(.*)\]", found))
