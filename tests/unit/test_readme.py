"""The README tells the truth: its drawings, its settings, its promises and its map."""

import ast
import re
from pathlib import Path

import pytest

from adapters.config import Config
from domain.ticket.automata import TASK, TICKET
from domain.worker.automata import WORKER

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

PROMISES = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", README)


def test_its_drawings_are_those_of_the_automata() -> None:
    drawings = re.findall(r"```mermaid\n(.*?)\n```", README, re.DOTALL)
    assert [one.diagram().strip() for one in (TICKET, TASK, WORKER)] == drawings


@pytest.mark.parametrize(("file", "name"), PROMISES)
def test_each_promise_has_its_test(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in names


def test_it_promises_a_good_deal() -> None:
    assert len(PROMISES) > 15


def test_it_has_every_setting_with_its_default() -> None:
    table = dict(re.findall(r"^\| `TURNSTILE_(\w+)` \| `?([^|`]*?)`? \|", README, re.MULTILINE))
    defaults = {name: getattr(Config(), name) for name in Config.__struct_fields__}
    defaults.pop("database_url")
    assert "| `DATABASE_URL` | none |" in README
    assert {name.upper() for name in defaults} == set(table)
    for name, default in defaults.items():
        if name not in ("name", "partitions", "kafka_replication", "kafka_ca"):
            assert str(default or "none") == table[name.upper()]


def test_every_file_that_it_names_is_there() -> None:
    for name in re.findall(
        r"`((?:domain|projections|adapters|workers|tests|docker)/[\w/.]*)`", README
    ):
        assert (ROOT / name).exists(), name


def test_every_make_target_that_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^ +make (\w+)|`make (\w+)`", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target
